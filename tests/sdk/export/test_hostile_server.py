"""A hostile or broken server: the training's memory and its terminal are safe, and nothing sampled is lost."""

from __future__ import annotations

import functools
import http.server
import json
import resource
import threading
import zlib

import pytest
import torch
from torch import nn

import relumine
from relumine._export import retry, transport
from relumine._runtime import http as http_runtime
from relumine._runtime import log
from relumine.errors import ServerError
from tests.helpers.alarming_transport import critical

MAX_GROWTH_KIB = 96 * 1024


class HostileServer:
    """A server that lets ``answer`` write the whole response, and counts requests and their headers."""

    def __init__(self, answer):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.do_GET()

            def do_GET(self):
                outer.requests.append(dict(self.headers.items()))
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hostile():
    servers = []

    def start(answer):
        servers.append(HostileServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


@pytest.fixture(autouse=True)
def _fresh_limits(monkeypatch):
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(log.server_lines, "_lines", 0)
    monkeypatch.setattr(log.server_lines, "_withheld", 0)


def send(handler, status, content, **headers):
    handler.send_response(status)
    for name, value in {"content-length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def response(**changes):
    fields = {"accepted": 1, "analyzed": True, "duplicate": False, "sample_every": None, "alerts": []}
    return json.dumps(fields | changes).encode()


def train(url, steps=30, on_alert=None):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = relumine.watch(model, optimizer, every=1, url=url, on_alert=on_alert)
    for step in range(steps):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
        if step % 5 == 4:
            monitor.flush(0.3)
    monitor.close(timeout=2.0)
    stats = monitor.sdk_stats()
    parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
    assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"] == steps
    return monitor


def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@functools.cache
def bomb():
    """Half a GiB of zeros, compressed piece by piece: the memory of this process is measured."""
    compressor = zlib.compressobj(1, wbits=31)
    return b"".join(compressor.compress(bytes(2**20)) for _ in range(2**9)) + compressor.flush()


def compressed(handler):
    send(handler, 202, bomb(), content_encoding="gzip")


def endless(handler):
    handler.send_response(202)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        handler.wfile.write(chunk)


def claims_to_be_huge(handler):
    handler.send_response(202)
    handler.send_header("content-length", str(2**40))
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 2**16)


@pytest.mark.parametrize("answer", [compressed, endless, claims_to_be_huge])
def test_an_answer_without_bounds_costs_neither_memory_nor_sampled_steps(answer, hostile):
    server = hostile(answer)
    train("http://127.0.0.1:9", steps=5)  # what the libraries take is taken before
    start_kib = peak_kib()
    stats = train(server.url).sdk_stats()
    assert peak_kib() - start_kib < MAX_GROWTH_KIB
    assert (stats["acked_steps"], stats["spooled_steps"]) == (0, 30)
    assert server.requests[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("answer", [compressed, endless, claims_to_be_huge])
def test_the_client_reads_no_answer_without_bounds(answer, hostile, monkeypatch):
    monkeypatch.setattr("relumine.client.MAX_RESPONSE_BYTES", 2**20)
    server = hostile(answer)
    start_kib = peak_kib()
    with relumine.Client(server.url) as client, pytest.raises(ServerError):
        client.run("r")
    assert peak_kib() - start_kib < MAX_GROWTH_KIB


def test_a_list_without_end_ends(hostile):
    pages = iter(range(10**9))
    server = hostile(lambda handler: send(handler, 200, b'{"items":[],"next_cursor":"%d"}' % next(pages)))
    with relumine.Client(server.url) as client, pytest.raises(ServerError, match="not from a Relumine server"):
        list(client.runs())


def test_a_body_that_does_not_end_in_time_is_given_up():
    with pytest.raises(http_runtime.UnboundedResponse, match="did not end"):
        http_runtime.read_body(iter([b" "] * 3), "", max_bytes=100, max_s=-1.0)


def test_alerts_and_lines_of_an_answer_are_bounded_and_the_rest_is_counted(hostile, capsys):
    numbers = iter(range(10**9))

    def flood(handler):
        alert = critical().model_dump(mode="json")
        ids = [f"a{next(numbers)}" for _ in range(1_000)]
        alerts = [alert | {"id": name, "incident_id": name, "message": "dead"} for name in ids]
        send(handler, 202, response(alerts=alerts))

    calls = []
    monitor = train(hostile(flood).url, on_alert=calls.append)
    log.server_lines.report(last=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= log.MAX_LINES + 10
    assert sum("more lines about answers of the server were not printed" in line for line in lines) == 1
    uploads = monitor.sdk_stats()["uploads"]
    assert 0 < len(monitor.alerts()) <= 200 * uploads
    assert len(calls) <= 200 * uploads


def test_what_is_held_of_alerts_is_bounded(hostile, monkeypatch):
    monkeypatch.setattr("relumine._monitor.alert_dispatcher.MAX_HELD_BYTES", 50_000)
    numbers = iter(range(10**9))

    def flood(handler):
        alert = critical().model_dump(mode="json")
        alerts = [alert | {"id": f"a{next(numbers)}", "message": "x" * 3_000} for _ in range(100)]
        alerts.append(alert | {"id": f"huge{next(numbers)}", "message": "x" * 200_000})
        send(handler, 202, response(alerts=alerts))

    monitor = train(hostile(flood).url)
    held = monitor.alerts()
    assert 5 < len(held) < 20
    assert not any(alert.id.startswith("huge") for alert in held)


def test_cookies_are_not_stored_and_redirects_are_not_followed(hostile):
    target = hostile(lambda handler: send(handler, 202, response()))
    cookie = "a=" + "x" * 3_000
    server = hostile(lambda handler: send(handler, 202, response(), set_cookie=cookie))
    train(server.url)
    assert not any("cookie" in {name.lower() for name in headers} for headers in server.requests)
    redirecting = hostile(lambda handler: send(handler, 308, b"", location=f"{target.url}/v1/uploads"))
    stats = train(redirecting.url, steps=5).sdk_stats()
    assert (stats["spooled_steps"], target.requests) == (5, [])


def test_requests_to_this_machine_go_through_no_proxy(hostile, monkeypatch):
    proxy = hostile(lambda handler: send(handler, 202, response()))
    server = hostile(lambda handler: send(handler, 202, response()))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    stats = train(server.url, steps=5).sdk_stats()
    assert (stats["acked_steps"], proxy.requests) == (5, [])


@pytest.mark.parametrize("limit", [transport.MAX_RESPONSE_BYTES])
def test_the_largest_answer_of_a_server_is_read(limit, hostile):
    server = hostile(lambda handler: send(handler, 202, response() + b" " * (limit - len(response()))))
    assert train(server.url, steps=5).sdk_stats()["acked_steps"] == 5
