"""uvicorn's HTTP protocol with limits of time and size on every connection.

uvicorn itself leaves open: headers that arrive byte by byte or never end, bodies that continue after their response,
clients that do not read, and any number of connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relumine_server.api import problem_details
from relumine_server.settings import Settings

MAX_HEADER_BYTES = 64 * 2**10


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection, with a timer for its headers, its body and its response."""

    def __init__(self, *arguments: Any, settings: Settings, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = settings
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._header_bytes: int | None = 0  # None while a body is read
        self._ignored_bytes = 0  # of a body whose request was answered already

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or answer 503 if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "too_many_connections", "too many connections are open; try again shortly")
            return
        self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers; bodies have limits of their own."""
        if self.transport.is_closing():
            return
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        is_too_large = self._header_bytes is not None and self._header_bytes > MAX_HEADER_BYTES
        if is_too_large and not self.transport.is_closing():
            self._refuse(431, "headers_too_large", f"at most {MAX_HEADER_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Start to read headers."""
        super().on_message_begin()
        self._header_bytes = self._header_bytes or 0
        self._ignored_bytes = 0
        self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)

    def on_headers_complete(self) -> None:
        """Start to read the body, if there is one."""
        self._stop_timer("headers")
        self._header_bytes = None
        # A second more than the body may take: the application answers 408 first.
        self._start_timer("body", self._limits.body_timeout_s + 1.0, self.transport.close)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read part of a body.

        A client that continues to send after the response may do so up to the size that a body may have, and reads the
        response then. Beyond that size the connection is cut.
        """
        super().on_body(body)
        if self.cycle.response_complete:
            self._ignored_bytes += len(body)
            if self._ignored_bytes > self._limits.max_body_bytes:
                self.transport.abort()

    def on_message_complete(self) -> None:
        """Expect headers again."""
        self._stop_timer("body")
        self._header_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give a client that reads too slowly a limited time to continue."""
        super().pause_writing()
        self._start_timer("send", self._limits.send_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        """Continue to write: the client reads again."""
        self._stop_timer("send")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Answer what is not HTTP with a problem like any other."""
        self._refuse(400, "bad_request", "not an HTTP request")

    def _cut_off(self) -> None:
        if self.cycle is not None:
            self.cycle.disconnected = True  # the task that writes the response stops
        self.transport.abort()

    def _on_header_timeout(self) -> None:
        if self._header_bytes:
            self._refuse(408, "header_timeout", f"within {self._limits.header_timeout_s:g} s")
        else:
            self.transport.close()  # an idle connection: there is no request to answer

    def _refuse(self, status: int, code: str, detail: str) -> None:
        # While a response is being written, a second one would end up in the middle of it.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(problem_details.raw(status, code, detail))
        self.transport.close()

    def _start_timer(self, name: str, seconds: float, callback: Any) -> None:
        self._stop_timer(name)
        self._timers[name] = self.loop.call_later(seconds, callback)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
