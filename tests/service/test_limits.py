"""Every limit has an answer of its own, and what is over it costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress

import httpx
import pytest
from live_server import caller, listening

from relumine_server.api import rates, turns
from relumine_server.api.turns import Turns
from relumine_server.app import create_app
from relumine_server.settings import Settings

UNITS = 3


def upload(run="r1", project="p", seq=1, **more):
    record = {"layer_id": 1, "n_examples": 8, "active": [1, 0, 8]}
    body = {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(4 * seq, 4 * seq + 4)],
        "numbers": [{"step": 1, "name": "loss", "value": 1.0}] * 2,
    }
    return {**body, **more}


def layers(number, first=1):
    return [{"layer_id": i, "name": f"a{i}", "units": UNITS} for i in range(first, first + number)]


@pytest.fixture
def limited(new_database):
    """Calls an application of these settings; the fixture closes it."""
    made = []

    def make(kind="sqlite", **settings):
        made.append(create_app(Settings(database_url=new_database(kind), **settings)))
        return caller(made[-1])

    yield make
    for app in made:
        app.state.store.close()


TOO_MUCH = {
    "records": ({"max_records_per_upload": 3}, upload(), 413, "too_many_records"),
    "numbers": ({"max_numbers_per_upload": 1}, upload(), 413, "too_many_numbers"),
    "layers at once": ({"max_layers_per_upload": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "layers of a run": ({"max_layers_per_run": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "layers of a project": ({"max_layers_per_project": 2}, upload(layers=layers(3)), 422, "too_many_layers"),
    "units": ({"max_units_per_run": 8}, upload(layers=layers(3)), 422, "too_many_units"),
    "values": ({"max_values_per_upload": 100}, upload(), 413, "too_many_values"),
    "bytes": ({"max_body_bytes": 1024}, upload(layers=layers(20)), 413, "body_too_large"),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_in_an_upload_has_its_own_code_and_nothing_of_it_is_kept(name, kind, limited):
    settings, body, status, code = TOO_MUCH[name]
    call = limited(kind, **settings)
    answer = call("POST", "/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert call("GET", "/v1/runs").json()["items"] == []
    assert call("GET", "/v1/projects").json()["items"] == []
    small = upload(records=[], numbers=[], layers=layers(1))
    assert call("POST", "/v1/uploads", json=small).status_code == 202


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_project_takes_so_many_runs_and_the_server_so_many_projects(kind, limited):
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


def test_a_body_without_end_is_not_read_for_ever(new_database):
    with listening(new_database("sqlite"), max_body_bytes=2**16) as url:
        sent = 0
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
            with suppress(ConnectionError):
                while sent < 2**30:
                    connection.sendall(b"10000\r\n" + b" " * 2**16 + b"\r\n")
                    sent += 2**16
        assert sent < 2**28  # what the kernel's buffers hold, and far from all


def test_any_other_body_is_smaller(limited):
    call = limited(max_request_bytes=1024)
    answer = call("POST", "/v1/alerts/r1.1.dead/acknowledge", json={"author": "Ada", "note": "x" * 1100})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not(limited):
    call = limited(requests_per_second=1)
    answers = [call("GET", "/v1/runs") for _ in range(rates.WINDOW_S + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    last = answers[-1]
    assert (last.status_code, last.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(last.headers["retry-after"]) <= rates.WINDOW_S
    assert call("GET", "/livez").status_code == call("GET", "/readyz").status_code == 200
    assert call("GET", "/").status_code == 429


def test_keys_are_counted_apart_and_wrong_ones_apart_from_those(limited):
    call = limited(requests_per_second=1)
    admin = {"authorization": f"Bearer {call('POST', '/v1/keys', json={'scope': 'admin'}).json()['key']}"}
    wrong = {"authorization": "Bearer rlm_admin_wrong"}
    tried = [call("GET", "/v1/runs", headers=wrong).status_code for _ in range(rates.WINDOW_S + 1)]
    assert tried == [401] * rates.WINDOW_S + [429]
    assert call("GET", "/v1/runs", headers=admin).status_code == 429  # the same address, and no key was looked at


def test_no_number_of_addresses_fills_the_memory():
    counted = rates.Rates(1)
    for i in range(rates.REMEMBERED + 10):
        counted.take(str(i))
    assert len(counted._storage.events) <= rates.REMEMBERED + 1
    assert (
        rates.address(("2001:db8::1", 1)) == rates.address(("2001:db8::ffff", 1)) != rates.address(("2001:db9::1", 1))
    )


def test_more_requests_than_threads_wait_for_their_turn_and_then_are_sent_away(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.05)
    answered = []

    async def scenario():
        leave = asyncio.Event()

        async def handler(_scope, _receive, send):
            await leave.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        gate = Turns(handler, settings=Settings(max_requests_at_once=2))

        async def ask():
            async def send(message):
                if message["type"] == "http.response.start":
                    answered.append(message["status"])

            await gate({"type": "http", "method": "GET", "path": "/v1/runs", "headers": []}, None, send)

        first = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.gather(*(ask() for _ in range(3)))
        leave.set()
        await asyncio.gather(*first, *(ask() for _ in range(3)))

    asyncio.run(scenario())
    assert answered == [503] * 3 + [200] * 5


def test_who_reads_an_answer_slowly_keeps_nobody_waiting(limited):
    call = limited(max_requests_at_once=1)

    async def scenario():
        began, leave = asyncio.Event(), asyncio.Event()

        async def slow(message):
            began.set()
            await leave.wait()

        app = Turns(answering, settings=Settings(max_requests_at_once=1))
        scope = {"type": "http", "method": "GET", "path": "/v1/runs", "headers": []}
        reader = asyncio.create_task(app(scope, None, slow))
        await began.wait()
        got = []

        async def quick(message):
            got.append(message["type"])

        await app(scope, None, quick)
        leave.set()
        await reader
        return got

    async def answering(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert asyncio.run(scenario()) == ["http.response.start", "http.response.body"]
    assert call("GET", "/v1/runs").status_code == 200


@pytest.fixture
def host(new_database):
    """(address, port) of a real server with short patience."""
    settings = {"header_timeout_s": 0.3, "body_timeout_s": 0.3, "send_timeout_s": 0.3, "max_connections": 8}
    with listening(new_database("sqlite"), **settings) as url:
        yield "127.0.0.1", int(url.rsplit(":", 1)[1])


def told(connection):
    """All that a server says until it closes."""
    said = b""
    connection.settimeout(30)
    while piece := connection.recv(65_536):
        said += piece
    return said


def problem(said):
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


HEAD = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\n"


def test_a_body_that_drips_is_408_and_the_connection_ends(host):
    for size in (b"content-length: 100\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"):
        with socket.create_connection(host) as connection:
            connection.sendall(HEAD + size)
            assert problem(told(connection)) == (408, "body_too_slow")
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD.replace(b"uploads", b"keys") + b"content-length: 100\r\n\r\n{")
        assert problem(told(connection)) == (408, "body_too_slow")


def test_a_head_that_drips_or_does_not_end_is_refused(host):
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD)
        assert problem(told(connection)) == (408, "head_too_slow")
    with socket.create_connection(host) as connection:
        connection.sendall(HEAD + b"x: " + b"y" * 70_000)
        assert problem(told(connection)) == (431, "head_too_large")
    with socket.create_connection(host) as connection:
        assert told(connection) == b""  # who says nothing is told nothing


def test_what_is_no_http_is_a_problem_too(host):
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", HEAD + b"content-length: many\r\n\r\n"):
        with socket.create_connection(host) as connection:
            connection.sendall(nonsense)
            assert problem(told(connection)) == (400, "bad_request")


def test_more_connections_than_allowed_are_turned_away_and_the_others_served(host):
    url = f"http://127.0.0.1:{host[1]}"
    with httpx.Client() as kept:
        assert kept.get(f"{url}/livez").status_code == 200
        crowd = [socket.create_connection(host) for _ in range(7)]
        with socket.create_connection(host) as one_too_many:
            assert problem(told(one_too_many)) == (503, "too_many_connections")
        assert kept.get(f"{url}/livez").status_code == 200
        for connection in crowd:
            connection.close()


def test_a_client_that_does_not_read_is_cut_off(host):
    for patience_s in (1, 2, 4, 8, 16):  # for a slow machine
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(host)
            connection.sendall(b"GET /static/plotly.min.js HTTP/1.1\r\nhost: localhost\r\n\r\n")
            time.sleep(patience_s)  # not to read is what is tried
            got = told(connection)
        wanted = int(got.split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(got) < wanted:
            return
    raise AssertionError("all was sent")


def test_a_body_larger_than_allowed_is_read_to_its_end_so_that_its_sender_hears_the_answer(host):
    answer = httpx.post(f"http://127.0.0.1:{host[1]}/v1/uploads", content=b" " * (33 * 2**20))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
