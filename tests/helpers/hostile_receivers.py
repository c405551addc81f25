"""Hostile receivers, each on a port of its own: they respond with too much, too slowly, or not at all.

    python -m tests.helpers.hostile_receivers

prints the ports as JSON and serves until standard input is closed.
"""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Any

CHUNK = b"x" * 65_536
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
TEN_GB = 10 * 10**9
Send = Callable[[bytes], Any]


def ten_gigabytes(send: Send) -> None:
    """Send a body as long as announced, as fast as it is read."""
    send(HEAD + b"content-length: %d\r\n\r\n" % TEN_GB)
    for chunk in repeat(CHUNK, TEN_GB // len(CHUNK)):
        send(chunk)


def ten_gigabytes_in_chunks(send: Send) -> None:
    """Send a long body without announcing its length."""
    send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for chunk in repeat(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK), TEN_GB // len(CHUNK)):
        send(chunk)


def gzip_bomb(send: Send) -> None:
    """Send ten megabytes that decompress to ten gigabytes."""
    bomb = gzip.compress(bytes(10**7)) * 1_000
    send(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb))
    send(bomb)


def one_byte_a_second(send: Send) -> None:
    """Send a body slowly, so that each byte begins a new wait."""
    send(HEAD + b"content-length: 1000000\r\n\r\n")
    drip(send, repeat(b"x"))


def one_byte_of_the_headers_a_second(send: Send) -> None:
    """Send even the status line slowly."""
    drip(send, (HEAD[i : i + 1] for i in range(len(HEAD))))


def headers_without_end(send: Send) -> None:
    """Send header after header, as fast as they are read."""
    send(HEAD)
    for number in range(10**9):
        send(b"x-%d: %b\r\n" % (number, CHUNK[:1000]))


def one_header_without_end(send: Send) -> None:
    """Send a single header without an end."""
    send(HEAD + b"x-long: ")
    for chunk in repeat(CHUNK):
        send(chunk)


def a_thousand_headers(send: Send) -> None:
    """Send many headers, and then a valid response."""
    send(HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(1000)) + b"content-length: 0\r\n\r\n")


def informational_responses_without_end(send: Send) -> None:
    """Send one informational response after another."""
    for chunk in repeat(b"HTTP/1.1 102 Processing\r\n\r\n"):
        send(chunk)
        time.sleep(0.001)  # the rate of the attack


def one_chunk_of_any_size(send: Send) -> None:
    """Send a chunk whose size is a number of a million digits."""
    send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for chunk in repeat(b"0" * 65_536):
        send(chunk)


def silence(_: Send) -> None:
    """Accept the request and send nothing."""
    time.sleep(3_600)  # longer than any timeout of the client


def garbage(send: Send) -> None:
    """Send something that is not HTTP."""
    for chunk in repeat(bytes(range(256)) * 16):
        send(chunk)


def slow_tls(send: Send) -> None:
    """Send the header of a TLS record of 16 kB, and then one byte of it a second. For requests with https."""
    send(b"\x16\x03\x03\x40\x00")
    drip(send, repeat(b"\x02"))


def reads_a_byte_a_second(_: Send) -> None:
    """Read the request slowly and send nothing."""


def drip(send: Send, chunks: Any) -> None:
    """Send one chunk a second."""
    for chunk in chunks:
        send(chunk)
        time.sleep(1)  # shorter than a timeout per read


RECEIVERS = (
    ten_gigabytes, ten_gigabytes_in_chunks, gzip_bomb, one_byte_a_second, one_byte_of_the_headers_a_second,
    headers_without_end, one_header_without_end, a_thousand_headers, informational_responses_without_end,
    one_chunk_of_any_size, silence, garbage, slow_tls, reads_a_byte_a_second,
)  # fmt: skip


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):  # the client went away
            while self.server.respond is reads_a_byte_a_second and self.request.recv(1):  # type: ignore[attr-defined]
                time.sleep(1)  # shorter than a timeout per write
            self.request.recv(65_536)
            self.server.respond(self.request.sendall)  # type: ignore[attr-defined]


@contextmanager
def hostile_receivers() -> Iterator[dict[str, int]]:
    """Run all of them; yield their ports by name."""
    servers = {}
    for respond in RECEIVERS:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        server.block_on_close = False
        server.respond = respond  # type: ignore[attr-defined]
        if respond is reads_a_byte_a_second:  # so that the kernel reads little more
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers[respond.__name__] = server
    yield {name: server.server_address[1] for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with hostile_receivers() as ports:
        print(json.dumps(ports), flush=True)  # noqa: T201 - read by the process that started it
        sys.stdin.read()
