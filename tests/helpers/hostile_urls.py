"""URLs that no webhook may be sent to, and the addresses of the names in them. A test puts a listener at ``{port}``."""

from __future__ import annotations

REFUSED_BY_TEXT = [
    # this host, in all its spellings
    "https://127.0.0.1:{port}/", "https://127.0.0.2:{port}/", "https://127.255.255.254:{port}/", "http://127.0.0.1:{port}/",
    "https://127.1:{port}/", "https://127.0.1:{port}/", "https://2130706433:{port}/", "https://0x7f000001:{port}/",
    "https://0x7f.0x0.0x0.0x1:{port}/", "https://0x7f.1:{port}/", "https://017700000001:{port}/",
    "https://0177.0.0.1:{port}/", "https://0177.0.0.01:{port}/", "https://127.0.0.1.:{port}/", "https://0:{port}/",
    "https://0.0.0.0:{port}/", "https://00000000000:{port}/", "https://127.0.0.1%2f@example.org:{port}/",
    "https://localhost:{port}/", "https://LOCALHOST:{port}/", "https://localhost.:{port}/", "https://a.localhost:{port}/",
    "https://[::1]:{port}/", "https://[::]:{port}/", "https://[0:0:0:0:0:0:0:1]:{port}/", "https://[::127.0.0.1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/", "https://[::ffff:7f00:1]:{port}/", "https://[::ffff:0:127.0.0.1]:{port}/",
    "https://[64:ff9b::7f00:1]:{port}/", "https://[64:ff9b:1::7f00:1]:{port}/", "https://[2002:7f00:1::]:{port}/",
    "https://[2001:0:7f00:1::]:{port}/", "https://[2606:4700::5efe:7f00:1]:{port}/", "https://[::1%25lo]:{port}/",
    "https://[::1]x:{port}/",
    # digits, dots and letters that normalization turns into ASCII
    "https://１２７.0.0.1:{port}/", "https://127。0。0。1:{port}/", "https://①②⑦.0.0.1:{port}/", "https://ⓛocalhost:{port}/",
    "https://%31%32%37.0.0.1:{port}/", "https://127.0.0.1%00.example.org:{port}/",
    # metadata services of clouds
    "https://169.254.169.254/latest/meta-data/", "http://169.254.169.254/", "https://[::ffff:169.254.169.254]/",
    "https://2852039166/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/", "https://169.254.43518/",
    "https://[fd00:ec2::254]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::]/", "https://169.254.170.2/",
    "https://100.100.100.200/", "https://168.63.129.16/", "https://[fd20:ce::254]/", "https://metadata.google.internal/",
    "https://metadata/", "https://192.0.0.192/",
    # addresses that are not public
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1:8443/", "https://192.168.257/", "https://100.64.0.1/",
    "https://198.18.0.1/", "https://192.0.2.1/", "https://203.0.113.9/", "https://192.88.99.1/", "https://240.0.0.1/",
    "https://255.255.255.255/", "https://224.0.0.1/", "https://[fe80::1]/", "https://[fc00::1]/", "https://[fd12:3456::1]/",
    "https://[fec0::1]/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/", "https://[100::1]/",
    "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://[::ffff:10.0.0.1]/", "https://[5f00::1]/",
    # credentials, ports, schemes, shapes
    "https://user:secret@127.0.0.1:{port}/", "https://example.org@127.0.0.1:{port}/", "https://127.0.0.1:{port}\\@example.org/",
    "https://example.org:22/", "https://example.org:25/", "https://example.org:0/", "https://example.org:99999/",
    "https://example.org:80:{port}/", "http://example.org/", "ftp://127.0.0.1:{port}/", "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_", "dict://127.0.0.1:{port}/", "unix:///var/run/docker.sock", "//127.0.0.1:{port}/",
    "https:///127.0.0.1:{port}/", "https:127.0.0.1:{port}", "https://", "https://[127.0.0.1]:{port}/",
    "https://127.0.0.1\t:{port}/", " https://127.0.0.1:{port}/", "https://127.0.0.1:{port}/\r\nHost: x",
    "https://a..b/", "https://-a.example/", "https://example.org/" + "a" * 5_000, "https://" + "a" * 300 + ".example/",
]  # fmt: skip
"""URLs that are refused by their text alone."""

HOSTILE_HOSTS = {
    "loop.test": ["127.0.0.1"], "loop6.test": ["::1"], "mapped.test": ["::ffff:127.0.0.1"], "zero.test": ["0.0.0.0"],  # noqa: S104 - it is refused
    "inside.test": ["10.1.2.3"], "home.test": ["192.168.0.1"], "cloud.test": ["169.254.169.254"],
    "cloud6.test": ["fd00:ec2::254"], "nat64.test": ["64:ff9b::7f00:1"], "sixtofour.test": ["2002:7f00:1::1"],
    "link.test": ["fe80::1"], "crowd.test": ["224.0.0.1"], "azure.test": ["168.63.129.16"],
    "both.test": ["93.184.216.34", "127.0.0.1"], "both6.test": ["93.184.216.34", "::1"], "none.test": [],
}  # fmt: skip
"""Names with a harmless text, and the addresses by which they are refused once they are resolved."""

HOSTILE_URLS = [*REFUSED_BY_TEXT, *(f"https://{name}:{{port}}/" for name in HOSTILE_HOSTS)]
