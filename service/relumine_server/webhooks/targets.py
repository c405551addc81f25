"""Where a notification may go: judges URLs and the addresses they resolved to.

Pure: whoever connects resolves first, asks here, and connects to the very address that was judged. The
default is https to a public address. A setting adds loopback, for receivers beside the server; nothing adds
private networks, link-local addresses or the metadata address of a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARS = 2_000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024  # below it live mail, ssh and the like, which a POST may confuse

_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_RELAY_4 = IPv4Network("192.88.99.0/24")  # 6to4 relays: deprecated, still counted as global
_DOCUMENTATION_6 = IPv6Network("3fff::/20")  # newer than the tables of Python 3.11


def url_problem(url: str, *, allow_loopback: bool) -> str | None:
    """Why a URL cannot be a receiver, or None. Looks at the text only; a name is judged when it is resolved."""
    if len(url) > MAX_URL_CHARS:
        return f"url is longer than {MAX_URL_CHARS} characters"
    if not all(char.isprintable() and not char.isspace() for char in url) or "\\" in url:
        return "url holds a character that no URL may hold"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "url cannot be read"
    return _shape_problem(parts, port) or _literal_problem(parts, allow_loopback=allow_loopback)


def refusal(url: str, addresses: Sequence[str], *, allow_loopback: bool) -> str | None:
    """Why none of these addresses of the URL may be connected to, or None.

    One bad address refuses them all: a name that points both outside and inside is an attack or a mistake.
    """
    if not addresses:
        return "the host has no address"
    plain = urlsplit(url).scheme != "https"
    for address in addresses:
        problem = _address_problem(address, plain=plain, allow_loopback=allow_loopback)
        if problem:
            return problem
    return None


def _shape_problem(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in _DEFAULT_PORTS:
        return "url must start with https:// or http://"
    if not parts.hostname:
        return "url has no host"
    if parts.username is not None or parts.password is not None:
        return "url must not hold credentials"
    if port is not None and port not in _DEFAULT_PORTS.values() and port < _FIRST_FREE_PORT:
        return f"port must be 80, 443 or at least {_FIRST_FREE_PORT}"
    return None


def _literal_problem(parts: SplitResult, *, allow_loopback: bool) -> str | None:
    """What can be said without resolving: the scheme, and a host that is an address already."""
    plain = parts.scheme == "http"
    if plain and not allow_loopback:
        return "url must start with https:// (http is for receivers on this host, where the server allows loopback)"
    host = parts.hostname or ""
    if ":" not in host and not host.replace(".", "").isdecimal():
        return None
    return _address_problem(host, plain=plain, allow_loopback=allow_loopback)


def _address_problem(text: str, *, plain: bool, allow_loopback: bool) -> str | None:
    try:
        address = ip_address(text)
    except ValueError:
        return "the host is no address that can be judged"
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None if allow_loopback else f"{address} is this host"
    if not _is_public(address):
        return f"{address} is not a public address"
    return "http is for receivers on this host only" if plain else None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address lies in the open Internet. Tunnels (6to4, Teredo, NAT64) can lead inside, so they do not."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _RELAY_4
    tunnelled = address.sixtofour is not None or address.teredo is not None
    return address in _GLOBAL_UNICAST_6 and address not in _DOCUMENTATION_6 and not tunnelled
