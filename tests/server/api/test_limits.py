"""Every limit has its own response, and exceeding it does not affect other clients."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress

import httpx
import pytest

from relumine_server.api import rate_limit
from relumine_server.api.middleware import admission
from relumine_server.api.middleware.admission import AdmissionMiddleware
from relumine_server.app import create_app
from relumine_server.settings import Settings
from tests.helpers.live_server import caller, listening

UNITS = 3


def upload(run="r1", project="p", seq=1, **more):
    record = {"layer_id": 1, "n_examples": 8, "active": [1, 0, 8]}
    body = {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(4 * seq, 4 * seq + 4)],
        "metrics": [{"step": 1, "name": "loss", "value": 1.0}] * 2,
    }
    return {**body, **more}


def layers(number, first=1):
    return [{"layer_id": i, "name": f"a{i}", "units": UNITS} for i in range(first, first + number)]


@pytest.fixture
def limited(new_database):
    """A function that creates an application with settings and returns its caller; the fixture closes it."""
    apps = []

    def create(kind="sqlite", **settings):
        apps.append(create_app(Settings(database_url=new_database(kind), **settings)))
        return caller(apps[-1])

    yield create
    for app in apps:
        app.state.services.database.close()


TOO_MUCH = {
    "records": ({"max_records_per_upload": 3}, upload(), 413, "too_many_records"),
    "metrics": ({"max_metrics_per_upload": 1}, upload(), 413, "too_many_metrics"),
    "layers at once": ({"max_layers_per_upload": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "layers of a run": ({"max_layers_per_run": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "layers of a project": ({"max_layers_per_project": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "units": ({"max_units_per_run": 8}, upload(layers=layers(3)), 422, "too_many_units"),
    "values": ({"max_values_per_upload": 100}, upload(), 413, "too_many_values"),
    "bytes": ({"max_body_bytes": 1024}, upload(layers=layers(20)), 413, "body_too_large"),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", TOO_MUCH)
def test_each_limit_of_an_upload_has_its_own_code_and_nothing_of_the_upload_is_stored(name, kind, limited):
    settings, body, status, code = TOO_MUCH[name]
    call = limited(kind, **settings)
    response = call("POST", "/v1/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert call("GET", "/v1/runs").json()["items"] == []
    assert call("GET", "/v1/projects").json()["items"] == []
    small = upload(records=[], metrics=[], layers=layers(1))
    assert call("POST", "/v1/uploads", json=small).status_code == 202


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_runs_of_a_project_and_the_projects_of_a_server_are_limited(kind, limited):
    call = limited(kind, max_runs_per_project=2, max_projects=2, max_layers_per_project=2)
    codes = [
        call("POST", "/v1/uploads", json=upload(run, project)).json().get("code")
        for run, project in (("a", "p"), ("b", "p"), ("c", "p"), ("d", "q"), ("e", "r"), ("a", "p"))
    ]
    assert codes == [None, None, "too_many_runs", None, "too_many_projects", None]
    assert call("DELETE", "/v1/runs/a").status_code == 204
    assert call("POST", "/v1/uploads", json=upload("c", "p")).status_code == 202
    more = call("POST", "/v1/uploads", json=upload("b", "p", 2, layers=layers(2)))
    assert (more.status_code, more.json()["code"]) == (422, "too_many_layers")


def test_an_endless_body_is_not_read_to_the_end(new_database):
    with listening(new_database("sqlite"), max_body_bytes=2**16) as url:
        sent = 0
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
            with suppress(ConnectionError):
                while sent < 2**30:
                    connection.sendall(b"10000\r\n" + b" " * 2**16 + b"\r\n")
                    sent += 2**16
        assert sent < 2**28  # more than one limit, because of the kernel's buffers, but far less than was to be sent


def test_the_limit_of_other_bodies_is_smaller(limited):
    call = limited(max_request_bytes=1024)
    response = call("POST", "/v1/alerts/r1.1.dead/acknowledge", json={"author": "Ada", "note": "x" * 1100})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_too_many_requests_are_429_with_retry_after_except_on_livez_and_readyz(limited):
    call = limited(requests_per_second=1)
    responses = [call("GET", "/v1/runs") for _ in range(rate_limit.WINDOW_S + 1)]
    assert {response.status_code for response in responses[:-1]} == {200}
    last = responses[-1]
    assert (last.status_code, last.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(last.headers["retry-after"]) <= rate_limit.WINDOW_S
    assert call("GET", "/livez").status_code == call("GET", "/readyz").status_code == 200
    assert call("GET", "/").status_code == 429


def test_requests_beyond_the_limit_wait_for_a_while_and_are_then_refused(monkeypatch):
    monkeypatch.setattr(admission, "MAX_WAIT_S", 0.05)
    statuses = []

    async def scenario():
        may_respond = asyncio.Event()

        async def handler(_scope, _receive, send):
            await may_respond.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        middleware = AdmissionMiddleware(handler, settings=Settings(max_concurrent_requests=2))

        async def request():
            async def send(message):
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            await middleware({"type": "http", "method": "GET", "path": "/v1/runs", "headers": []}, None, send)

        first = [asyncio.create_task(request()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.gather(*(request() for _ in range(3)))
        may_respond.set()
        await asyncio.gather(*first, *(request() for _ in range(3)))

    asyncio.run(scenario())
    assert statuses == [503] * 3 + [200] * 5


def test_a_client_that_reads_its_response_slowly_does_not_delay_other_requests(limited):
    call = limited(max_concurrent_requests=1)

    async def scenario():
        has_started = asyncio.Event()
        may_continue = asyncio.Event()

        async def slow(message):
            has_started.set()
            await may_continue.wait()

        app = AdmissionMiddleware(respond, settings=Settings(max_concurrent_requests=1))
        scope = {"type": "http", "method": "GET", "path": "/v1/runs", "headers": []}
        reader = asyncio.create_task(app(scope, None, slow))
        await has_started.wait()
        received = []

        async def fast(message):
            received.append(message["type"])

        await app(scope, None, fast)
        may_continue.set()
        await reader
        return received

    async def respond(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert asyncio.run(scenario()) == ["http.response.start", "http.response.body"]
    assert call("GET", "/v1/runs").status_code == 200


@pytest.fixture
def host(new_database):
    """The address and port of a real server with short timeouts."""
    settings = {"header_timeout_s": 0.3, "body_timeout_s": 0.3, "send_timeout_s": 0.3, "max_connections": 8}
    with listening(new_database("sqlite"), **settings) as url:
        yield "127.0.0.1", int(url.rsplit(":", 1)[1])


def read_all(connection):
    """Return all bytes that the server sends until it closes the connection."""
    received = b""
    connection.settimeout(60)
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def problem(response):
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


HEAD = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\n"


def test_a_slow_body_is_408_and_the_connection_is_closed(host):
    for size in (b"content-length: 100\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"):
        with socket.create_connection(host) as connection:
            connection.sendall(HEAD + size)
            assert problem(read_all(connection)) == (408, "body_timeout")
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD.replace(b"uploads", b"keys") + b"content-length: 100\r\n\r\n{")
        assert problem(read_all(connection)) == (408, "body_timeout")


def test_slow_or_endless_headers_are_refused(host):
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD)
        assert problem(read_all(connection)) == (408, "header_timeout")
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD + b"x: " + b"y" * 70_000)
        assert problem(read_all(connection)) == (431, "headers_too_large")
    with socket.create_connection(host) as connection:
        assert read_all(connection) == b""  # no request, no response


def test_bytes_that_are_not_http_are_a_problem(host):
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", HEAD + b"content-length: many\r\n\r\n"):
        with socket.create_connection(host) as connection:
            connection.sendall(garbage)
            assert problem(read_all(connection)) == (400, "bad_request")


RESPONSES = 8


def test_a_client_that_does_not_read_is_disconnected(host):
    for pause_s in (1, 2, 4, 8, 16):  # longer ones for a slow machine
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(host)
            # More than the buffers of both ends hold.
            connection.sendall(
                RESPONSES * b"GET /static/build/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
            )
            time.sleep(pause_s)  # the client does not read
            received = read_all(connection)
        announced = int(received.split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(received) < RESPONSES * announced:
            return
    raise AssertionError("the whole response was sent")


def test_a_body_that_is_too_large_is_read_to_its_end_so_that_its_sender_gets_the_response(host):
    response = httpx.post(f"http://127.0.0.1:{host[1]}/v1/uploads", content=b" " * (33 * 2**20))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
