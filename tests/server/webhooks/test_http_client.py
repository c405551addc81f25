"""An attempt ends at its deadline and uses little memory, whatever an endpoint or a name server does."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import tracemalloc

import httpx
import pytest

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.webhooks.http_client import MAX_RESPONSE_BYTES, WebhookHttpClient
from tests.helpers.hostile_receivers import RECEIVERS, hostile_receivers

LOOPBACK = TargetAllowlist(loopback=True)
NAMES = [receiver.__name__ for receiver in RECEIVERS]
RESPONDING = {
    "ten_gigabytes", "ten_gigabytes_in_chunks", "gzip_bomb", "one_byte_a_second", "a_thousand_headers",
    "one_chunk_of_any_size",
}  # fmt: skip


@pytest.fixture(scope="module")
def ports():
    with hostile_receivers() as ports_by_name:
        yield ports_by_name


@pytest.mark.parametrize("name", NAMES)
def test_no_endpoint_prolongs_an_attempt_or_fills_the_memory(name, ports):
    scheme = "https" if name == "slow_tls" else "http"
    body = "x" * (6_000_000 if name == "reads_a_byte_a_second" else 20_000)
    client = WebhookHttpClient(LOOPBACK, timeout_s=0.7)
    tracemalloc.start()
    outcome = client.post(f"{scheme}://127.0.0.1:{ports[name]}/", {}, body)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.response_status == 200) == (name in RESPONDING), outcome
    assert outcome.delivered or outcome.error
    assert len(outcome.response_body or "") <= MAX_RESPONSE_BYTES
    assert peak_bytes < 10 * 2**20 + 3 * len(body)


def test_a_name_server_that_does_not_answer_ends_at_the_deadline():
    released = threading.Event()
    outcome = WebhookHttpClient(LOOPBACK, timeout_s=0.2, resolve=lambda *_: released.wait(60) and []).post(
        "https://a.test/", {}, "{}"
    )
    assert outcome.error == "no answer within 0.2 s"
    released.set()


def test_redirects_are_not_followed_and_proxies_not_used(ports, monkeypatch):
    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(307)
            self.send_header("location", f"http://127.0.0.1:{ports['a_thousand_headers']}/")
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{ports['a_thousand_headers']}")
    with http.server.HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        outcome = WebhookHttpClient(LOOPBACK, timeout_s=10).post(f"http://127.0.0.1:{server.server_port}/", {}, "{}")
    assert (outcome.response_status, outcome.delivered) == (307, False)


class _TlsHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.requests.append((self.path, self.headers["host"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    """A receiver with a self-signed certificate for ``hooks.test``, and the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key = folder / "key.pem"
    certificate = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test"]
    extension = ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *extension], check=True, capture_output=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _TlsHandler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, certificate
        server.shutdown()


def loopback(*_):
    return ["127.0.0.1"]


def test_the_certificate_is_checked_for_the_host_name_although_the_connection_is_to_an_address(tls_server):
    server, certificate = tls_server
    trusting = ssl.create_default_context(cafile=certificate)
    client = WebhookHttpClient(LOOPBACK, timeout_s=10, resolve=loopback, ssl_context=trusting)
    outcome = client.post(f"https://hooks.test:{server.server_port}/a%20b?c=d", {}, "{}")
    assert outcome.response_status == 204, outcome
    assert server.requests.pop() == ("/a%20b?c=d", f"hooks.test:{server.server_port}")
    outcome = client.post(f"https://other.test:{server.server_port}/", {}, "{}")
    assert outcome.response_status is None
    assert "certificate" in outcome.error


def test_an_untrusted_certificate_is_refused(tls_server):
    server, _ = tls_server
    outcome = WebhookHttpClient(LOOPBACK, timeout_s=10, resolve=loopback).post(
        f"https://hooks.test:{server.server_port}/", {}, "{}"
    )
    assert outcome.response_status is None
    assert "certificate" in outcome.error
    assert server.requests == []


def test_an_error_does_not_contain_the_url(ports):
    path = "T000/B000/SECRET"
    urls = [f"http://127.0.0.1:9/{path}", f"http://10.0.0.1/{path}", f"https://unknown.invalid/{path}"]
    errors = [WebhookHttpClient(LOOPBACK, timeout_s=5).post(url, {}, "{}").error for url in urls]
    assert all(errors)
    assert not any(path in error for error in errors)


def test_httpx_reads_the_responses_of_a_hostile_receiver_too(ports):
    """The hostile receivers are sound: their responses are HTTP that another client accepts."""
    assert httpx.post(f"http://127.0.0.1:{ports['a_thousand_headers']}/", content=b"{}").status_code == 200
