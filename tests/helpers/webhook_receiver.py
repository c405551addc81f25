"""A receiver of webhooks on a real socket. A test sets its next responses and reads the requests it got."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Response(NamedTuple):
    """The response to one request, after a delay. With status 0 the connection is reset instead."""

    status: int = 204
    headers: dict[str, str] = {}  # noqa: RUF012 - never written
    body: bytes = b""
    delay_s: float = 0.0


RESET = Response(0)


class Receiver(http.server.ThreadingHTTPServer):
    """Sends the responses set by the test, then 204 to every further request."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.responses: list[Response] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.on_post: Callable[[], Any] = lambda: None

    @property
    def url(self) -> str:
        """The URL that notifications are to be sent to."""
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def delivery_ids(self) -> list[str]:
        """The ids of the deliveries received, in order."""
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def bodies(self) -> list[Any]:
        """The bodies received, in order."""
        return [json.loads(body) for _, body in self.requests]

    @property
    def notifications(self) -> list[tuple[str, list[int]]]:
        """The notifications received in the standard format, as (event without ``alert.``, layer ids), in order."""
        notifications = []
        for body in self.bodies:
            layers = sorted(alert["layer_id"] for alert in body["data"]["alerts"])
            notifications.append((body["type"].removeprefix("alert."), layers))
        return notifications


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.server.on_post()
        response = self.server.responses.pop(0) if self.server.responses else Response()
        if not response.status:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        time.sleep(response.delay_s)  # a slow receiver
        self.send_response(response.status)
        for name, value in {"content-length": str(len(response.body)), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """Run a receiver for the duration of the block."""
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
