"""An attempt ends at its deadline, whatever a receiver or a name server does, and holds nothing of what it is sent."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import tracemalloc

import httpx
import pytest
from hostile_receivers import RECEIVERS, receiving

from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.sender import MAX_ANSWER_BYTES, Sender

LOOPBACK = Allowed(loopback=True)
NAMES = [behave.__name__ for behave in RECEIVERS]
ANSWERING = {
    "ten_gigabytes", "ten_gigabytes_in_chunks", "gzip_bomb", "one_byte_a_second", "a_thousand_headers",
    "one_chunk_of_any_size",
}  # fmt: skip


@pytest.fixture(scope="module")
def ports():
    with receiving() as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_no_receiver_holds_an_attempt_or_fills_the_memory(name, ports):
    scheme = "https" if name == "slow_tls" else "http"
    body = "x" * (6_000_000 if name == "takes_a_byte_a_second" else 20_000)
    sender = Sender(LOOPBACK, timeout_s=0.7)
    tracemalloc.start()
    outcome = sender.post(f"{scheme}://127.0.0.1:{ports[name]}/", {}, body)
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.status == 200) == (name in ANSWERING), outcome
    assert outcome.delivered or outcome.error
    assert len(outcome.answer or "") <= MAX_ANSWER_BYTES
    assert grown < 10 * 2**20 + 3 * len(body)


def test_a_name_server_that_says_nothing_holds_nobody():
    asked = threading.Event()
    outcome = Sender(LOOPBACK, timeout_s=0.2, resolve=lambda *_: asked.wait(60) and []).post(
        "https://a.test/", {}, "{}"
    )
    assert outcome.error == "no answer within 0.2 s"
    asked.set()


def test_a_redirect_is_not_followed_and_a_proxy_not_used(ports, monkeypatch):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(307)
            self.send_header("location", f"http://127.0.0.1:{ports['a_thousand_headers']}/")
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{ports['a_thousand_headers']}")
    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        outcome = Sender(LOOPBACK, timeout_s=10).post(f"http://127.0.0.1:{server.server_port}/", {}, "{}")
    assert (outcome.status, outcome.delivered) == (307, False)


class _Signed(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append((self.path, self.headers["host"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A receiver with a certificate for ``hooks.test``, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test"]
    more = ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *more], check=True, capture_output=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Signed) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.got = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, certificate
        server.shutdown()


def here(*_):
    return ["127.0.0.1"]


def test_https_is_for_the_name_although_the_connection_is_to_an_address(certified):
    server, certificate = certified
    trusting = ssl.create_default_context(cafile=certificate)
    sender = Sender(LOOPBACK, timeout_s=10, resolve=here, ssl_context=trusting)
    outcome = sender.post(f"https://hooks.test:{server.server_port}/a%20b?c=d", {}, "{}")
    assert outcome.status == 204, outcome
    assert server.got.pop() == ("/a%20b?c=d", f"hooks.test:{server.server_port}")
    other = sender.post(f"https://other.test:{server.server_port}/", {}, "{}")
    assert (other.status, "certificate" in other.error) == (None, True)


def test_a_certificate_that_nobody_vouches_for_is_refused(certified):
    server, _ = certified
    outcome = Sender(LOOPBACK, timeout_s=10, resolve=here).post(f"https://hooks.test:{server.server_port}/", {}, "{}")
    assert outcome.status is None
    assert "certificate" in outcome.error
    assert server.got == []


def test_what_failed_is_said_without_the_url(ports):
    path = "T000/B000/SECRET"
    urls = [f"http://127.0.0.1:9/{path}", f"http://10.0.0.1/{path}", f"https://nobody.invalid/{path}"]
    errors = [Sender(LOOPBACK, timeout_s=5).post(url, {}, "{}").error for url in urls]
    assert all(errors)
    assert not any(path in error for error in errors)


def test_the_answers_of_a_receiver_are_read_by_httpx_as_well(ports):
    """The rig is sound: what it answers is HTTP that another client takes."""
    assert httpx.post(f"http://127.0.0.1:{ports['a_thousand_headers']}/", content=b"{}").status_code == 200
