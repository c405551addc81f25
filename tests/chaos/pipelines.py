"""Requests in endless pipelines, and trailers without end, while other clients upload as usual.

    python -m tests.chaos.pipelines [--seconds 45]

On one connection and on eight at once. Each sends 16 MiB without waiting for a response: reads, heads without a body,
uploads, and reads with bodies; and one upload whose trailers, or whose single trailer, never end. Prints how many
responses came, how much the server's memory grew at its peak, and the latency of the other clients with and without the
attack.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from tests.chaos import attack
from tests.chaos.payload_attacks import MIB

STREAM_BYTES = 16 * MIB
CONNECTIONS = (1, 8)
PAUSE_S = 0.2
HOST = b" HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"POST /v1/uploads" + HOST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


class Stream(NamedTuple):
    """Bytes that are sent once, and those that follow without end."""

    head: bytes
    block: bytes


def pipeline(request: bytes) -> Stream:
    """Return a request again and again."""
    return Stream(b"", request * (MIB // len(request)))


STREAMS = (
    pipeline(b"GET /v1/runs" + HOST + b"\r\n"),
    pipeline(b"HEAD /nowhere" + HOST + b"\r\n"),
    pipeline(b"POST /v1/uploads" + HOST + b"content-length: 2\r\n\r\n{}"),
    pipeline(b"GET /" + HOST + b"content-length: 1000\r\n\r\n" + bytes(1000)),
    Stream(CHUNKED, b"x: y\r\n" * (MIB // 6)),
    Stream(CHUNKED + b"x: ", b"y" * MIB),
)


def send_stream(port: int, stream: Stream, answers: Counter[str]) -> None:
    """Send a stream on a connection of its own, and count the responses."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):  # the server closes the connection
            connection.sendall(stream.head)
            for _ in range(STREAM_BYTES // len(stream.block)):
                connection.sendall(stream.block)
        with suppress(OSError):
            while chunk := connection.recv(2**16):
                received += chunk
    answers["connections"] += 1
    answers["responses"] += received.count(b"HTTP/1.1 ")


def send_streams(port: int, seconds: float) -> Counter[str]:
    """Send one stream or eight at once, one round after the other."""
    answers: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    for stream, number in itertools.cycle(itertools.product(STREAMS, CONNECTIONS)):
        if time.monotonic() > deadline:
            return answers
        arguments = (port, stream, answers)
        threads = [threading.Thread(target=send_stream, args=arguments) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(PAUSE_S)  # the rate of the attack
    return answers


if __name__ == "__main__":
    attack.main(__doc__, send_streams)
