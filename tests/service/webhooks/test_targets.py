"""Where notifications may not go, no connection is made: counted by an audit hook on every connect of this process."""

from __future__ import annotations

import itertools
import json
import socketserver
import sys
import threading

import pytest
from dns import ask, serving
from hostile_urls import HOSTILE, LITERALS, NAMES
from hypothesis import example, given
from hypothesis import strategies as st

from relumine_server.webhooks.allowed import Allowed, allowed
from relumine_server.webhooks.sender import Sender, system_addresses
from relumine_server.webhooks.targets import read_target, refusal, url_problem

STRICT = Allowed()
_watchers: list[list[str]] = []


def _watch(event, arguments):
    if event == "socket.connect" and _watchers and isinstance(arguments[1], tuple):
        _watchers[-1].append(arguments[1][0])


sys.addaudithook(_watch)


@pytest.fixture
def connected():
    """Every address that this process connects to while the test runs."""
    seen: list[str] = []
    _watchers.append(seen)
    yield seen
    _watchers.remove(seen)


@pytest.fixture(scope="module")
def listener():
    """Somebody who listens on this host; how often they were called."""
    calls = []
    with socketserver.TCPServer(("127.0.0.1", 0), lambda *came: calls.append(came[1])) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], calls
        server.shutdown()


@pytest.fixture(scope="module")
def names():
    """Resolves as a name server says, and other names as this machine does."""
    with serving(lambda name: NAMES.get(name, [])) as port:
        yield lambda host, at: ask(port, host) if host in NAMES else system_addresses(host, at)


def test_there_are_many_hostile_urls():
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: ascii(url)[:60])
def test_a_hostile_url_is_connected_to_by_nobody(url, listener, names, connected):
    port, calls = listener
    outcome = Sender(STRICT, timeout_s=10, resolve=names).post(url.format(port=port), {}, "{}")
    assert outcome.status is None
    assert outcome.error.startswith("refused: ")
    assert (connected, calls) == ([], [])


@pytest.mark.parametrize("url", LITERALS, ids=lambda url: ascii(url)[:60])
def test_a_hostile_url_is_refused_when_it_is_given(url):
    assert url_problem(url.format(port=8443), STRICT)


def test_a_receiver_that_may_not_be_is_refused_at_the_api(call):
    honest = call("POST", "/v1/webhooks", json={"url": "https://example.org/hook"}).json()
    for url in [*LITERALS, "", "https://\ud800/"]:
        body = json.dumps({"url": url.format(port=8443)})
        for method, path in (("POST", "/v1/webhooks"), ("PATCH", f"/v1/webhooks/{honest['webhook_id']}")):
            answer = call(method, path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 422, (url, answer.text)
    assert [webhook["url"] for webhook in call("GET", "/v1/webhooks").json()["items"]] == ["https://example.org/hook"]


def test_the_audit_hook_sees_connections(listener, connected):
    port, calls = listener
    before = len(calls)
    Sender(Allowed(loopback=True), timeout_s=0.5).post(f"http://127.0.0.1:{port}/", {}, "{}")
    assert connected == ["127.0.0.1"]
    calls[before:] = []


def test_a_name_that_changes_its_answer_is_connected_to_where_it_was_judged(listener, connected):
    """Loopback stands for the public here: the name shows itself there to whoever asks first, and inside afterwards."""
    port, _ = listener
    answers = itertools.cycle([["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]])
    with serving(lambda _: next(answers)) as server:
        sender = Sender(Allowed(loopback=True), timeout_s=0.2, resolve=lambda host, _: ask(server, host))
        outcomes = [sender.post(f"http://flip.test:{port}/", {}, "{}") for _ in range(20)]
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
    rules = allowed("AM.corp., 10.1.0.0/16,fd00:1::/64", loopback=False)
    assert refusal(read_target(url, rules), addresses, rules) is None


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
def test_what_is_allowed_opens_nothing_else_and_never_the_metadata_of_a_cloud(url, addresses):
    rules = allowed("am.corp, 10.1.0.0/16, 169.254.0.0/16, 64:ff9b::/96", loopback=False)
    assert refusal(read_target(url, rules), addresses, rules)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.1/8", "127.0.0.1", "::1", "a b", "10.0.0", "*.corp", "https://x"]
)
def test_an_entry_that_says_nothing_is_refused_at_the_start(text):
    with pytest.raises(ValueError, match=r"neither a host nor a network|is this host"):
        allowed(text, loopback=False)


@given(st.text(max_size=60) | st.text("[]0x1279.:@/\\%#?afl", max_size=40))
@example("//[::1")
def test_any_text_is_read_or_refused(text):
    for url in (text, f"https://{text}", f"https://{text}/"):
        assert url_problem(url, STRICT) is None or url_problem(url, STRICT)


@given(st.ip_addresses())
def test_whatever_is_not_public_is_refused_as_it_is_written(address):
    shown = f"[{address}]" if address.version == 6 else str(address)
    if not address.is_global:
        assert url_problem(f"https://{shown}/", STRICT)


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
def test_an_honest_url_goes_where_it_says(url, host, path):
    target = read_target(url, STRICT)
    assert (target.host, target.path) == (host, path)
