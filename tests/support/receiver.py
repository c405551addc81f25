"""A receiver of notifications on a real socket, whose next answers can be set; it keeps what it got."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a receiver does with one request: answers, says nothing for a while, or breaks off (``status`` 0)."""

    status: int = 204
    headers: dict[str, str] = {}  # noqa: RUF012 - never written
    body: bytes = b""
    silent_s: float = 0.0


RESET = Answer(0)


class Receiver(http.server.ThreadingHTTPServer):
    """Answers as told, then 204."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.on_post: Callable[[], Any] = lambda: None

    @property
    def url(self) -> str:
        """Where notifications are to go."""
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def ids(self) -> list[str]:
        """The ids of what came, in the order in which it came."""
        return [headers["webhook-id"] for headers, _ in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.server.on_post()
        answer = self.server.answers.pop(0) if self.server.answers else Answer()
        if not answer.status:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        time.sleep(answer.silent_s)  # what a slow receiver does
        self.send_response(answer.status)
        for name, value in {"content-length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
