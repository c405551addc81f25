"""Requests that are sent before the response to an earlier one: some are answered in order, the others never read."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import httpx
import pytest

from relumine_server.server import protocol
from tests.helpers.live_server import listening

MANY = 2000
LIMIT = protocol.MAX_PIPELINED + 1  # one is being answered


@pytest.fixture
def url(new_database):
    with listening(new_database("sqlite")) as url:
        yield url


def request(number, method=b"GET", body=b"", path=b"/v1/runs/none"):
    head = b"%s %s HTTP/1.1\r\nhost: localhost\r\nx-request-id: r%d\r\n" % (method, path, number)
    return head + (b"content-length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body


def send(url, content, end=b""):
    """Send content on one connection; return what the server sends until it closes the connection, or until ``end``."""
    received = b""
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=60) as connection:
        with suppress(OSError):  # the server stops to read
            connection.sendall(content)
        with suppress(ConnectionError):
            while not (end and end in received) and (chunk := connection.recv(65_536)):
                received += chunk
    return received


def request_ids(received):
    return [int(number) for number in re.findall(rb"x-request-id: r(\d+)", received, re.IGNORECASE)]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
def test_requests_in_a_pipeline_are_answered_in_order(url, method):
    content = b"".join(request(number, method) for number in range(LIMIT))
    received = send(url, content, end=b"x-request-id: r%d\r\n\r\n" % (LIMIT - 1))
    assert request_ids(received) == list(range(LIMIT))


def test_a_connection_may_have_any_number_of_pipelines_one_after_the_other(url):
    host = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    received = b""
    with socket.create_connection(host, timeout=60) as connection:
        for first in range(0, 5 * LIMIT, LIMIT):
            connection.sendall(b"".join(request(number) for number in range(first, first + LIMIT)))
            while len(request_ids(received)) < first + LIMIT:
                received += connection.recv(65_536)
    assert request_ids(received) == list(range(5 * LIMIT))


FLOODS = {
    "GET": request(0),
    "HEAD": request(0, b"HEAD"),
    "the shortest heads": b"GET / HTTP/1.1\r\n\r\n",
    "GET with a body": request(0, body=b"x" * 50),
    "POST": request(0, b"POST", b"{}", b"/v1/keys"),
    "uploads": request(0, b"POST", b"{}", b"/v1/uploads"),
    "chunked": request(0, b"POST", path=b"/v1/uploads")[:-2]
    + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "probes": request(0, path=b"/livez"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_of_more_requests_in_a_pipeline_only_the_first_are_answered_and_the_connection_closes(url, name):
    received = send(url, FLOODS[name] * MANY)
    assert received.count(b"HTTP/1.1 ") <= LIMIT
    assert httpx.get(f"{url}/livez").status_code == 200


def test_the_last_response_of_a_pipeline_that_is_cut_says_that_the_connection_closes(url):
    received = send(url, b"".join(request(number) for number in range(LIMIT + 1)))
    assert request_ids(received) == list(range(LIMIT))
    assert [b"connection: close" in head.lower() for head in received.split(b"HTTP/1.1 ")[1:]] == [False] * 16 + [True]


def test_headers_of_more_than_64_kib_are_refused_also_where_they_arrive_at_once(url):
    head = request(0)[:-2] + b"x: " + b"y" * (protocol.MAX_HEADER_BYTES + 1) + b"\r\n\r\n"
    assert b"headers_too_large" in send(url, head)
