"""Receivers that mean ill, each on a port of its own: they answer with too much, too slowly, or not at all.

    python tests/support/hostile_receivers.py

prints the ports as JSON and serves until its standard input is closed.
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

PIECE = b"x" * 65_536
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
TEN_GB = 10 * 10**9
Say = Callable[[bytes], Any]


def ten_gigabytes(say: Say) -> None:
    """As it says, and as fast as it is read."""
    say(HEAD + b"content-length: %d\r\n\r\n" % TEN_GB)
    for piece in repeat(PIECE, TEN_GB // len(PIECE)):
        say(piece)


def ten_gigabytes_in_chunks(say: Say) -> None:
    """Without saying how much it will be."""
    say(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for piece in repeat(b"%x\r\n%b\r\n" % (len(PIECE), PIECE), TEN_GB // len(PIECE)):
        say(piece)


def gzip_bomb(say: Say) -> None:
    """Ten megabytes that unpack to ten gigabytes."""
    bomb = gzip.compress(bytes(10**7)) * 1_000
    say(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb))
    say(bomb)


def one_byte_a_second(say: Say) -> None:
    """Each byte of the answer's body begins a new wait."""
    say(HEAD + b"content-length: 1000000\r\n\r\n")
    drip(say, repeat(b"x"))


def one_byte_of_the_head_a_second(say: Say) -> None:
    """The same before the status is known."""
    drip(say, (HEAD[at : at + 1] for at in range(len(HEAD))))


def headers_without_end(say: Say) -> None:
    """Header after header, as fast as they are read."""
    say(HEAD)
    for number in range(10**9):
        say(b"x-%d: %b\r\n" % (number, PIECE[:1000]))


def one_header_without_end(say: Say) -> None:
    """A single line."""
    say(HEAD + b"x-long: ")
    for piece in repeat(PIECE):
        say(piece)


def a_thousand_headers(say: Say) -> None:
    """Many, and then an answer."""
    say(HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(1000)) + b"content-length: 0\r\n\r\n")


def patience_without_end(say: Say) -> None:
    """Informational answers, one after another."""
    for piece in repeat(b"HTTP/1.1 102 Processing\r\n\r\n"):
        say(piece)
        time.sleep(0.001)


def one_chunk_of_any_size(say: Say) -> None:
    """A chunk whose size is a number of a million digits."""
    say(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for piece in repeat(b"0" * 65_536):
        say(piece)


def silence(_: Say) -> None:
    """The request is taken, and that is all."""
    time.sleep(3_600)


def garbage(say: Say) -> None:
    """No HTTP at all."""
    for piece in repeat(bytes(range(256)) * 16):
        say(piece)


def slow_tls(say: Say) -> None:
    """The head of a TLS record of 16 kB, and then one byte of it a second. To be called with https."""
    say(b"\x16\x03\x03\x40\x00")
    drip(say, repeat(b"\x02"))


def takes_a_byte_a_second(_: Say) -> None:
    """The request itself is hardly taken."""


def drip(say: Say, pieces: Any) -> None:
    """One piece a second."""
    for piece in pieces:
        say(piece)
        time.sleep(1)


RECEIVERS = (
    ten_gigabytes, ten_gigabytes_in_chunks, gzip_bomb, one_byte_a_second, one_byte_of_the_head_a_second,
    headers_without_end, one_header_without_end, a_thousand_headers, patience_without_end, one_chunk_of_any_size,
    silence, garbage, slow_tls, takes_a_byte_a_second,
)  # fmt: skip


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):  # the caller went away
            while self.server.behave is takes_a_byte_a_second and self.request.recv(1):  # type: ignore[attr-defined]
                time.sleep(1)
            self.request.recv(65_536)
            self.server.behave(self.request.sendall)  # type: ignore[attr-defined]


@contextmanager
def receiving() -> Iterator[dict[str, int]]:
    """All of them, by name; their ports."""
    servers = {}
    for behave in RECEIVERS:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads, server.block_on_close, server.behave = True, False, behave  # type: ignore[attr-defined]
        if behave is takes_a_byte_a_second:  # and the kernel takes little more on its behalf
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers[behave.__name__] = server
    yield {name: server.server_address[1] for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with receiving() as ports:
        print(json.dumps(ports), flush=True)  # noqa: T201 - to whoever started it
        sys.stdin.read()
