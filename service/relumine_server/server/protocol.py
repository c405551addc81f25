"""uvicorn's HTTP protocol with limits of time and size on every connection.

uvicorn itself leaves open: headers and trailers that arrive byte by byte or never end, bodies that continue after their
response, clients that do not read, requests in a pipeline, and any number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from relumine_server.api import problem_details
from relumine_server.net.clients import TrustedProxies, counted_address
from relumine_server.server.connections import ConnectionPlaces, State
from relumine_server.server.pipelines import PipelineTurns
from relumine_server.settings import Settings

MAX_HEADER_BYTES = 64 * 2**10
MIN_CHUNK_BYTES = 6  # of a chunk of one byte: its size, its byte and two ends of lines
MAX_PIPELINED = 16  # requests of a connection that wait for the response to an earlier one
PROBES = frozenset({b"/livez", b"/readyz"})


class _StopParsingError(Exception):
    """Raised in a callback of the parser: nothing more of this connection is read."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection, with a timer for its headers, its body and its response."""

    def __init__(
        self,
        *arguments: Any,
        settings: Settings,
        places: ConnectionPlaces,
        turns: PipelineTurns,
        proxies: TrustedProxies,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._limits = settings
        self._places = places
        self._turns = turns
        self._proxies = proxies
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._header_bytes: int | None = 0  # None while a body is read
        self._framing_bytes = 0  # read since the latest byte of a body: sizes and extensions of chunks, trailers
        self._ignored_bytes = 0  # of a body whose request was answered already, or behind too many requests
        self._is_cut = False  # nothing more is parsed: the connection closes after the requests that it has sent
        self._next: tuple[RequestResponseCycle, Any] | None = None  # the request that starts next
        self.address = ""
        self.is_from_proxy = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or answer 503 if there are too many."""
        super().connection_made(transport)
        self.flow = _PipelineFlow(transport, self._has_waiting)
        peer = self.client[0] if self.client else ""
        self.address = counted_address(peer)
        self.is_from_proxy = self._proxies.includes(peer)
        if not self._places.add(self):
            self._refuse_connection()
            return
        self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._next = None
        self._turns.end(self)
        self._places.remove(self)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().connection_lost(exc)

    def give_up_place(self) -> None:
        """Close the connection, because another one needs its place. What the client has not read is lost."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers; bodies have limits of their own."""
        if self.transport.is_closing():
            return
        if self._is_cut:
            self._ignore(len(data))
            return
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        super().data_received(data)
        self._start_or_wait(is_in_pipeline=bool(self.pipeline))
        unread_bytes = self._framing_bytes if self._header_bytes is None else self._header_bytes
        if unread_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse_headers()
        # An empty line begins no request, but it stops uvicorn's timer of an idle connection.
        is_untimed = "headers" not in self._timers and not self.transport.is_closing()
        if is_untimed and self._state() == "idle":
            self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)

    def on_message_begin(self) -> None:
        """Start to read headers, unless too many requests wait already."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._is_cut = True
            self.cycle.keep_alive = False  # the last request in the pipeline: its response ends the connection
            raise _StopParsingError
        super().on_message_begin()
        self._header_bytes = self._header_bytes or 0
        self._ignored_bytes = 0
        self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is none: it comes after the request was judged by its headers."""
        if self._header_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to read the body, if there is one."""
        self._stop_timer("headers")
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
            self._refuse_headers()
            raise _StopParsingError
        is_probe = self.url.partition(b"?")[0] in PROBES
        if not self._places.claim(self, is_probe=is_probe):
            self._refuse_connection()
            raise _StopParsingError
        self._header_bytes = None
        self._framing_bytes = 0
        # A second more than the body may take: the application answers 408 first.
        self._start_timer("body", self._limits.body_timeout_s + 1.0, self._on_body_timeout)
        super().on_headers_complete()
        if self._places.is_reserved(self):
            self.cycle.keep_alive = False
        self._note_state()

    def on_response_complete(self) -> None:
        """Start the next request of the pipeline, if there is one, when it is its turn."""
        self._turns.end(self)
        super().on_response_complete()
        self._start_or_wait(is_in_pipeline=True)
        self._note_state()

    def start_request(self) -> None:
        """Start the next request."""
        if self._next is not None:
            cycle, app = self._next
            self._next = None
            super()._start_asgi_task(cycle, app)
            self._note_state()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Only when all that has arrived is parsed is it known whether other requests wait behind this one.
        self._next = (cycle, app)

    def _start_or_wait(self, *, is_in_pipeline: bool) -> None:
        if self._next is None:
            return
        if is_in_pipeline:
            self._turns.wait(self)
        else:
            self.start_request()

    def on_body(self, body: bytes) -> None:
        """Read part of a body.

        A client that continues to send after the response may do so up to the size that a body may have, and reads the
        response then. Beyond that size the connection is cut.
        """
        self._framing_bytes = 0
        super().on_body(body)
        if self.cycle.response_complete:
            self._ignore(len(body) + MIN_CHUNK_BYTES)

    def on_message_complete(self) -> None:
        """Expect headers again."""
        self._stop_timer("body")
        self._header_bytes = 0
        super().on_message_complete()
        self._note_state()

    def pause_writing(self) -> None:
        """Give a client that reads too slowly a limited time to continue."""
        super().pause_writing()
        self._start_timer("send", self._limits.send_timeout_s, self._cut_off)
        self._note_state()

    def resume_writing(self) -> None:
        """Continue to write: the client reads again."""
        self._stop_timer("send")
        super().resume_writing()
        self._note_state()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Answer what is not HTTP with a problem like any other."""
        if not self._is_cut and not self.transport.is_closing():
            self._refuse(400, "bad_request", "not an HTTP request")

    def _state(self) -> State:
        if self.flow.write_paused or self._next is not None:
            return "waiting"
        if self.pipeline:
            return "working"
        if self._header_bytes is None:
            return "waiting"  # for the rest of a body
        return "idle" if self.cycle is None or self.cycle.response_complete else "working"

    def _has_waiting(self) -> bool:
        return bool(self.pipeline) or self._next is not None

    def _note_state(self) -> None:
        self._places.mark(self, self._state())

    def _ignore(self, size: int) -> None:
        self._ignored_bytes += size
        if self._ignored_bytes > self._limits.max_body_bytes:
            self.transport.abort()

    def _cut_off(self) -> None:
        if self.cycle is not None:
            self.cycle.disconnected = True  # the task that writes the response stops
        self.transport.abort()

    def _on_header_timeout(self) -> None:
        if self._has_waiting():  # nothing is read meanwhile: the client is not to blame
            self._start_timer("headers", self._limits.header_timeout_s, self._on_header_timeout)
        elif self._header_bytes:
            self._refuse(408, "header_timeout", f"within {self._limits.header_timeout_s:g} s")
        else:
            self.transport.close()  # an idle connection: there is no request to answer

    def _on_body_timeout(self) -> None:
        if self._has_waiting():
            self._start_timer("body", self._limits.body_timeout_s, self._on_body_timeout)
        else:
            self.transport.close()

    def _refuse_headers(self) -> None:
        self._refuse(431, "headers_too_large", f"at most {MAX_HEADER_BYTES} bytes")

    def _refuse_connection(self) -> None:
        self._refuse(503, "too_many_connections", "too many connections are open; try again shortly")

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


class _PipelineFlow(FlowControl):
    """Reads nothing while requests wait in the pipeline; uvicorn would read on after every response."""

    def __init__(self, transport: asyncio.Transport, has_waiting: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._has_waiting = has_waiting

    def resume_reading(self) -> None:
        """Read again, unless a request still waits."""
        if not self._has_waiting():
            super().resume_reading()
