"""Connections that do nothing take no place from those that do something."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from relumine_server.server import connections
from relumine_server.server.connections import PROBE_PLACES, STALLED_S, ConnectionPlaces
from tests.helpers.live_server import listening

LIMIT = 8
BODY_PENDING = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
BEGINNINGS = {
    "nothing": b"",
    "empty lines": b"\r\n\r\n",
    "part of a request line": b"GE",
    "part of a head": b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\n",
    "an answered request": b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


@contextmanager
def held(url, number, content):
    """Hold connections open that have sent ``content``."""
    host = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(host, timeout=60)) for _ in range(number)]
        for connection in connections:
            connection.sendall(content)
        yield connections


@pytest.fixture
def url(new_database):
    with listening(new_database("sqlite"), max_connections=LIMIT) as url:
        yield url


@pytest.mark.parametrize("name", BEGINNINGS)
def test_connections_without_a_request_keep_nobody_out(url, name):
    for _ in range(3):  # the connections are renewed
        with held(url, 5 * LIMIT, BEGINNINGS[name]):
            for path in ("/livez", "/readyz", "/v1/runs"):
                assert httpx.get(f"{url}{path}").status_code == 200, path


def test_probes_are_answered_while_every_place_has_a_request_in_progress(url, monkeypatch):
    monkeypatch.setattr(connections, "STALLED_S", 60.0)  # a busy machine takes longer than a second
    with held(url, LIMIT, BODY_PENDING) as open_connections:
        for path in ("/livez", "/readyz"):
            response = httpx.get(f"{url}{path}")
            assert (response.status_code, response.headers["connection"]) == (200, "close")
        with held(url, 3 * PROBE_PLACES, b""):  # not even these keep the probes out
            assert httpx.get(f"{url}/livez").status_code == 200
        response = httpx.get(f"{url}/v1/runs")
        assert (response.status_code, response.json()["code"]) == (503, "too_many_connections")
        open_connections[0].sendall(b"}" * 99)  # invalid, but complete
        assert open_connections[0].recv(9) == b"HTTP/1.1 "
        assert httpx.get(f"{url}/v1/runs").status_code == 200  # the connection is idle now: its place is given away


def test_an_idle_connection_is_timed_also_after_an_empty_line(new_database):
    with (
        listening(new_database("sqlite"), header_timeout_s=0.3) as url,
        held(url, 1, BEGINNINGS["an answered request"]) as (connection,),
    ):
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        assert not connection.recv(65_536).startswith(b"HTTP/1.1 200")  # 408, and then the end
        assert connection.recv(65_536) == b""


def test_one_address_may_be_limited_except_that_of_a_named_proxy(new_database):
    with listening(new_database("sqlite"), max_connections_per_address=2) as url, held(url, 2, BODY_PENDING):
        assert httpx.get(f"{url}/livez").json()["code"] == "too_many_connections"
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=elsewhere) as client:
            assert client.get(f"{url}/livez").status_code == 200
    settings = {"max_connections_per_address": 2, "trusted_proxies": "127.0.0.1"}
    with listening(new_database("sqlite"), **settings) as url, held(url, 2, BODY_PENDING):
        assert httpx.get(f"{url}/livez").status_code == 200


class Connection:
    def __init__(self, address, *, is_from_proxy=False):
        self.address = address
        self.is_from_proxy = is_from_proxy
        self.is_closed = False

    def give_up_place(self):
        self.is_closed = True


class Places(ConnectionPlaces):
    """Places on a clock that is set by hand."""

    def __init__(self, limit, per_address=0):
        self.time = 0.0
        super().__init__(limit, per_address, now=lambda: self.time)

    def fill(self, *connections, state="idle"):
        for connection in connections:
            assert self.add(connection)
            self.mark(connection, "working")
            self.mark(connection, state)
        return connections


def test_the_connection_that_is_idle_for_longest_is_closed_of_the_address_that_has_most():
    places = Places(5)
    few = places.fill(Connection("few"), Connection("few"))
    many = places.fill(*(Connection("many") for _ in range(3)))
    places.mark(many[0], "working")
    places.mark(many[0], "idle")  # it was active last
    places.fill(Connection("new"))
    assert [connection.is_closed for connection in (*few, *many)] == [False, False, False, True, False]


def test_a_named_proxy_counts_as_few_connections():
    places = Places(4)
    proxied = places.fill(*(Connection("proxy", is_from_proxy=True) for _ in range(3)))
    direct = places.fill(Connection("direct"))
    places.fill(Connection("new"))
    assert [connection.is_closed for connection in (*proxied, *direct)] == [False] * 3 + [True]


def test_an_address_takes_no_place_from_one_that_has_fewer_connections():
    places = Places(4)
    [idle] = places.fill(Connection("few"))
    places.fill(*(Connection("many") for _ in range(3)), state="working")
    newcomer = Connection("many")
    assert places.add(newcomer)
    assert places.is_reserved(newcomer)
    assert not places.claim(newcomer, is_probe=False)
    assert not idle.is_closed


def test_a_connection_that_waits_for_its_client_gives_up_its_place_only_where_none_is_idle():
    places = Places(3)
    stalled, slow = places.fill(Connection("a"), Connection("a"), state="waiting")
    [idle] = places.fill(Connection("a"))
    places.time += STALLED_S
    places.fill(Connection("new"), state="working")
    assert (idle.is_closed, stalled.is_closed) == (True, False)
    places.fill(Connection("new"), state="working")
    assert (stalled.is_closed, slow.is_closed) == (True, False)


def test_the_count_is_right_however_connections_end():
    places = Places(2)
    for _ in range(3):
        connections = places.fill(Connection("a"), Connection("b"), Connection("c"), Connection("d"))
        for connection in (*connections, *connections):
            places.remove(connection)
    assert places._count == 0
    assert not places._addresses
    assert not places._reserved
