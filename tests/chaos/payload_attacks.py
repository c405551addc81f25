"""Hostile requests: compression bombs, lying lengths, endless bodies, and connections that send a byte a second."""

from __future__ import annotations

import functools
import gzip
import itertools
import re
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import zstandard

from relumine_server.settings import Settings

SLOW_CONNECTIONS = 500
GIB = 2**30
MIB = 2**20
MAX_BODY = Settings.model_fields["max_body_bytes"].default
HEAD = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\n"


def lying_zstd(content: bytes) -> bytes:
    """Return a zstd frame whose header claims eight bytes."""
    frame = bytearray(zstandard.ZstdCompressor().compress(content))
    offset = bytes(frame).index(struct.pack("<I", len(content)))
    frame[offset : offset + 4] = struct.pack("<I", 8)
    return bytes(frame)


def encoded_request(encoding: str, body: bytes) -> bytes:
    """Return a request with an encoded body."""
    return HEAD + f"content-encoding: {encoding}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def plain_request(body: bytes) -> bytes:
    """Return a request with a body that is not encoded."""
    return HEAD + f"content-length: {len(body)}\r\n\r\n".encode() + body


@functools.cache
def attack_requests() -> Mapping[str, bytes]:
    """Return the requests by name. To make them takes seconds."""
    zeros = bytes(200 * MIB)
    just_fits = b" " * MAX_BODY
    return {
        "gzip 1,000:1": encoded_request("gzip", gzip.compress(zeros)),
        "gzip of gzip": encoded_request("gzip", gzip.compress(gzip.compress(zeros))),
        "gzip up to the limit": encoded_request("gzip", gzip.compress(just_fits)),
        "zstd 30,000:1": encoded_request("zstd", zstandard.ZstdCompressor(level=3).compress(zeros)),
        "zstd up to the limit": encoded_request("zstd", zstandard.ZstdCompressor().compress(just_fits)),
        "zstd that lies": encoded_request("zstd", lying_zstd(zeros)),
        "an unknown encoding": encoded_request("br", b"x" * 1000),
        "JSON objects up to the limit": plain_request(b'{"x":[' + b'{"a":0},' * (MAX_BODY // 8 - 8) + b"0]}"),
        "gzip of JSON lists": encoded_request("gzip", gzip.compress(b"[" + b"[],[[[[]]]]," * (2 * MIB) + b"0]")),
        "a length of 10^18": HEAD + b"content-length: 1000000000000000000\r\n\r\n{",
        "a length of 10^30": HEAD + b"content-length: 1" + b"0" * 30 + b"\r\n\r\n{",
        "a negative length": HEAD + b"content-length: -1\r\n\r\n{",
        "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "a length and chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "a length shorter than the body": HEAD + b"content-length: 2\r\n\r\n{}" + b"x" * 5000,
        "a head of 1 MiB": HEAD + b"x: " + b"y" * MIB,
    }


def statuses_in(answer: bytes) -> list[str]:
    """Return the statuses in the bytes of an answer, or that the connection was closed."""
    return [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)] or ["closed"]


def count_answers(connection: socket.socket, answers: Counter[str]) -> None:
    """Count every status that arrives until the connection ends, or that there was none."""
    received = b""
    with suppress(OSError):
        while piece := connection.recv(65_536):
            received += piece
            stays_open = b"connection: close" not in received.lower()
            if stays_open and re.search(rb"\r\n\r\n\{.*\}$", received, re.DOTALL):
                break
    answers.update(statuses_in(received))


def send(port: int, request: bytes, answers: Counter[str]) -> None:
    """Send one request on a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):
            connection.sendall(request)
        count_answers(connection, answers)


def send_endless(port: int, answers: Counter[str]) -> None:
    """Send a gigabyte in chunks, as far as the server accepts it."""
    chunk = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        with suppress(OSError):
            for _ in range(GIB // 2**16):
                connection.sendall(chunk)
        count_answers(connection, answers)


class SlowConnections:
    """Connections that send a byte a second each, and are opened again when the server closes them."""

    def __init__(self, port: int, answers: Counter[str]) -> None:
        self._port = port
        self._answers = answers
        self._open: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._numbers = itertools.count()

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set."""
        while not stop.is_set():
            while len(self._open) < SLOW_CONNECTIONS:
                self._connect()
            for connection in self._open:
                with suppress(OSError):
                    connection.send(b"x")
            next_byte_at = time.monotonic() + 1.0
            while (remaining_s := next_byte_at - time.monotonic()) > 0:
                for key, _ in self._selector.select(remaining_s):
                    self._close(key.fileobj)
        for connection in self._open:
            self._selector.unregister(connection)
            connection.close()

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        in_head = next(self._numbers) % 2
        connection.sendall(HEAD if in_head else HEAD + b"content-length: 5000\r\n\r\n")
        connection.settimeout(0)
        self._open.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _close(self, connection: object) -> None:
        if not isinstance(connection, socket.socket):
            return
        received = b""
        with suppress(OSError):
            received = connection.recv(4096)
        self._answers.update(statuses_in(received))
        self._selector.unregister(connection)
        self._open.discard(connection)
        connection.close()
