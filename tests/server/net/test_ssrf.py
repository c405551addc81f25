"""No connection is made to a refused target: an audit hook counts every connection of this process."""

from __future__ import annotations

import itertools
import json
import socketserver
import sys
import threading
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relumine_server.net.allowlist import TargetAllowlist, parse_allowlist
from relumine_server.net.ssrf import read_target, refusal_reason, url_problem
from relumine_server.webhooks import http_client
from relumine_server.webhooks.http_client import WebhookHttpClient, system_addresses
from relumine_server.webhooks.own_addresses import is_own_address
from tests.helpers.dns_server import resolve, run_dns_server
from tests.helpers.hostile_urls import HOSTILE_HOSTS, HOSTILE_URLS, REFUSED_BY_TEXT

STRICT = TargetAllowlist()
LOOPBACK = TargetAllowlist(loopback=True)
_connections: list[list[str]] = []
"""A list for each test that counts connections; the audit hook appends addresses to the latest."""


def _record_connection(event, arguments):
    if event == "socket.connect" and _connections and isinstance(arguments[1], tuple):
        _connections[-1].append(arguments[1][0])


sys.addaudithook(_record_connection)


@pytest.fixture
def connected():
    """Every address that this process connects to while the test runs."""
    addresses: list[str] = []
    _connections.append(addresses)
    yield addresses
    _connections.remove(addresses)


@pytest.fixture(scope="module")
def listener():
    """A listener on this host: its port, and the clients that connected to it."""
    clients = []
    with socketserver.TCPServer(("127.0.0.1", 0), lambda _, client, __: clients.append(client)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], clients
        server.shutdown()


@pytest.fixture(scope="module")
def resolve_host():
    """A resolver that asks a DNS server for hostile names, and this machine for all others."""
    with run_dns_server(lambda name: HOSTILE_HOSTS.get(name, [])) as dns_port:
        yield lambda host, port: resolve(dns_port, host) if host in HOSTILE_HOSTS else system_addresses(host, port)


def test_there_are_many_hostile_urls():
    assert len(set(HOSTILE_URLS)) >= 60


@pytest.mark.parametrize("url", HOSTILE_URLS, ids=lambda url: ascii(url)[:60])
def test_no_connection_is_made_to_a_hostile_url(url, listener, resolve_host, connected):
    port, clients = listener
    outcome = WebhookHttpClient(STRICT, timeout_s=60, resolve=resolve_host).post(url.format(port=port), {}, "{}")
    assert outcome.response_status is None
    assert outcome.error.startswith("refused: ")
    assert (connected, clients) == ([], [])


@pytest.mark.parametrize("url", REFUSED_BY_TEXT, ids=lambda url: ascii(url)[:60])
def test_a_url_that_is_hostile_by_its_text_is_refused_without_resolving_it(url):
    assert url_problem(url.format(port=8443), STRICT)


def test_the_api_refuses_a_hostile_url(call):
    allowed = call("POST", "/v1/webhooks", json={"url": "https://example.org/hook"}).json()
    for url in [*REFUSED_BY_TEXT, "", "https://\ud800/"]:
        body = json.dumps({"url": url.format(port=8443)})
        for method, path in (("POST", "/v1/webhooks"), ("PATCH", f"/v1/webhooks/{allowed['webhook_id']}")):
            response = call(method, path, content=body, headers={"content-type": "application/json"})
            assert response.status_code == 422, (url, response.text)
    assert [webhook["url"] for webhook in call("GET", "/v1/webhooks").json()["items"]] == ["https://example.org/hook"]


def test_the_audit_hook_records_connections(listener, connected):
    port, clients = listener
    clients_before = len(clients)
    WebhookHttpClient(LOOPBACK, timeout_s=0.5).post(f"http://127.0.0.1:{port}/", {}, "{}")
    assert connected == ["127.0.0.1"]
    clients[clients_before:] = []


def test_a_name_that_changes_its_address_is_connected_to_at_the_address_that_was_judged(listener, connected):
    """Loopback is allowed here, in place of a public address; some of the answers are internal addresses."""
    port, _ = listener
    answers = itertools.cycle([["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]])
    with run_dns_server(lambda _: next(answers)) as dns_port:
        client = WebhookHttpClient(LOOPBACK, timeout_s=0.2, resolve=lambda host, _: resolve(dns_port, host))
        outcomes = [client.post(f"http://flip.test:{port}/", {}, "{}") for _ in range(20)]
    assert {address for address in connected if address != "127.0.0.1"} == set()
    assert connected
    assert any((outcome.error or "").startswith("refused") for outcome in outcomes)


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://am.corp:9093/api/v2/alerts", ["10.9.8.7"]),
        ("https://am.corp/", ["fd12:3456::1"]),
        ("http://elsewhere.corp/", ["10.1.2.3"]),
        ("http://10.1.2.3:9093/", ["10.1.2.3"]),
        ("https://[fd00:1::5]/", ["fd00:1::5"]),
        ("https://example.org/", ["93.184.216.34"]),
        ("https://example.org:8443/", ["2606:2800:220:1::1"]),
    ],
)
def test_an_operator_may_allow_hosts_and_networks(url, addresses):
    allowed = parse_allowlist("AM.corp., 10.1.0.0/16,fd00:1::/64", loopback=False)
    assert refusal_reason(read_target(url, allowed), addresses, allowed) is None


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://am.corp/", ["127.0.0.1"]),
        ("http://am.corp/", ["169.254.169.254"]),
        ("http://am.corp/", ["64:ff9b::a9fe:a9fe"]),
        ("http://am.corp/", ["64:ff9b::7f00:1"]),
        ("http://am.corp/", ["0.0.0.0"]),  # noqa: S104 - it is refused
        ("http://am.corp/", ["224.0.0.1"]),
        ("http://am.corp/", ["10.9.8.7", "::1"]),
        ("http://elsewhere.corp/", ["10.2.0.1"]),
        ("http://elsewhere.corp/", ["93.184.216.34"]),
        ("http://elsewhere.corp/", ["192.168.0.1"]),
    ],
)
def test_an_allowlist_allows_nothing_else_and_never_metadata_addresses(url, addresses):
    allowed = parse_allowlist("am.corp, 10.1.0.0/16, 169.254.0.0/16, 64:ff9b::/96", loopback=False)
    assert refusal_reason(read_target(url, allowed), addresses, allowed)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.1/8", "127.0.0.1", "::1", "a b", "10.0.0", "*.corp", "https://x"]
)
def test_an_invalid_entry_of_an_allowlist_is_refused(text):
    with pytest.raises(ValueError, match=r"neither a host nor a network|is this host"):
        parse_allowlist(text, loopback=False)


@given(st.text(max_size=60) | st.text("[]0x1279.:@/\\%#?afl", max_size=40))
@example("//[::1")
def test_any_text_is_parsed_or_refused(text):
    for url in (text, f"https://{text}", f"https://{text}/"):
        problem = url_problem(url, STRICT)
        assert problem is None or problem


@given(st.ip_addresses())
def test_an_address_that_is_not_public_is_refused_by_its_text(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    if not address.is_global:
        assert url_problem(f"https://{host}/", STRICT)


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://hooks.slack.com/services/T/B/x", "hooks.slack.com", "/services/T/B/x"),
        ("https://münchen.example/ä?q=ü&r=%20#x", "xn--mnchen-3ya.example", "/%C3%A4?q=%C3%BC&r=%20"),
        ("HTTPS://Example.ORG.:443", "example.org", "/"),
        ("https://my_service.example/a//b/../c", "my_service.example", "/a//b/../c"),
        ("https://[2606:2800:220:1::1]:8443/", "2606:2800:220:1::1", "/"),
    ],
)
def test_an_ordinary_url_is_parsed_into_host_and_path(url, host, path):
    target = read_target(url, STRICT)
    assert (target.host, target.path) == (host, path)


OWN = ("10.1.2.3", "fd12::1", "93.184.216.34")
NETWORKS = "10.0.0.0/8, fd12::/32"


def own(address):
    return str(address) in OWN


@pytest.mark.parametrize(
    ("targets", "url", "addresses"),
    [
        (NETWORKS, "http://10.1.2.3/", ["10.1.2.3"]),
        (NETWORKS, "http://[fd12::1]/", ["fd12::1"]),
        (NETWORKS, "http://inside.test/", ["10.9.9.9", "10.1.2.3"]),
        (NETWORKS, "http://inside.test/", ["::ffff:10.1.2.3"]),
        (NETWORKS + ", 64:ff9b::/96", "http://inside.test/", ["64:ff9b::10.1.2.3"]),
        ("10.1.2.2/31", "http://inside.test/", ["10.1.2.3"]),
        ("0.0.0.0/0", "http://inside.test/", ["93.184.216.34"]),
        ("", "https://public.test/", ["93.184.216.34"]),
    ],
)
def test_an_own_address_of_this_host_is_refused_like_loopback(targets, url, addresses):
    allowed = parse_allowlist(targets, loopback=False)
    assert "is this host" in refusal_reason(read_target(url, allowed), addresses, allowed, own)
    with_loopback = parse_allowlist(targets, loopback=True)
    assert refusal_reason(read_target(url, with_loopback), addresses, with_loopback, own) is None


@pytest.mark.parametrize("targets", ["10.1.2.3", "10.1.2.3/32", "10.0.0.0/8, 10.1.2.3", "inside.test"])
def test_an_own_address_is_allowed_where_the_operator_named_it_or_its_host(targets):
    allowed = parse_allowlist(targets, loopback=False)
    assert refusal_reason(read_target("http://inside.test/", allowed), ["10.1.2.3"], allowed, own) is None


@pytest.mark.parametrize("text", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_no_connection_is_made_to_an_own_address_in_an_allowed_network(monkeypatch, connected, text):
    monkeypatch.setattr(http_client, "is_own_address", own)
    allowed = parse_allowlist(NETWORKS, loopback=False)
    client = WebhookHttpClient(allowed, timeout_s=60, resolve=lambda *_: [text])
    assert client.post("http://inside.test:8080/", {}, "{}").error == "refused: 10.1.2.3 is this host"
    assert connected == []


def test_the_system_tells_which_addresses_are_own():
    assert is_own_address(ip_address("127.0.0.1"))
    for text in ("198.51.100.7", "203.0.113.7", "2001:db8::7", "fe80::7%nonsense", "255.255.255.255"):
        assert not is_own_address(ip_address(text)), text
