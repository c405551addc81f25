"""Requests in endless pipelines, on one connection and on eight at once, while other clients upload as usual.

    python -m tests.chaos.pipelines [--seconds 45]

Each connection sends 16 MiB of requests without waiting for a response: reads, heads without a body, uploads, and reads
with bodies. Prints how many responses came, how much the server's memory grew at its peak, and the latency of the other
clients with and without the attack.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

from tests.chaos import attack
from tests.chaos.payload_attacks import MIB

PIPELINE_BYTES = 16 * MIB
CONNECTIONS = (1, 8)
PAUSE_S = 0.2
HOST = b" HTTP/1.1\r\nhost: localhost\r\n"
REQUESTS = (
    b"GET /v1/runs" + HOST + b"\r\n",
    b"HEAD /nowhere" + HOST + b"\r\n",
    b"POST /v1/uploads" + HOST + b"content-length: 2\r\n\r\n{}",
    b"GET /" + HOST + b"content-length: 1000\r\n\r\n" + bytes(1000),
)


def send_pipeline(port: int, request: bytes, answers: Counter[str]) -> None:
    """Send a pipeline on a connection of its own, and count the responses."""
    block = request * (MIB // len(request))
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):  # the server closes the connection
            for _ in range(PIPELINE_BYTES // len(block)):
                connection.sendall(block)
        with suppress(OSError):
            while chunk := connection.recv(2**16):
                received += chunk
    answers["pipelines"] += 1
    answers["responses"] += received.count(b"HTTP/1.1 ")


def send_pipelines(port: int, seconds: float) -> Counter[str]:
    """Send one pipeline or eight at once, one round after the other."""
    answers: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    for request, number in itertools.cycle(itertools.product(REQUESTS, CONNECTIONS)):
        if time.monotonic() > deadline:
            return answers
        arguments = (port, request, answers)
        threads = [threading.Thread(target=send_pipeline, args=arguments) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(PAUSE_S)  # the rate of the attack
    return answers


if __name__ == "__main__":
    attack.main(__doc__, send_pipelines)
