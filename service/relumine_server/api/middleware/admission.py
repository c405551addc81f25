"""Admission middleware: a bounded number of requests runs at once, each only when its whole body has arrived.

Threads are few, and uploads need them too. A body that arrives byte by byte, or a client that does not read its
response, must not occupy one. Uploads pass through: they have limits of their own (``InflightBytes``, the write queue).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import problem_details, request_body
from relumine_server.errors import Overloaded, ProblemError
from relumine_server.settings import Settings

MAX_WAIT_S = 2.0  # for a slot
MAX_WAITING = 512  # requests that wait for a slot

ALWAYS_ADMITTED = frozenset({"/v1/uploads", "/livez", "/readyz", "/metrics"})
"""Paths with a queue of their own, or needed most when everything else is stuck."""

METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class AdmissionMiddleware:
    """Gives requests one of ``max_concurrent_requests`` slots, in the order of their arrival."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._max_body_bytes = settings.max_request_bytes
        self._body_timeout_s = settings.body_timeout_s
        self._free_slots = asyncio.Semaphore(settings.max_concurrent_requests)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, wait for a slot, and pass the request on."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] not in METHODS_WITHOUT_BODY:
                receive = await self._read_body(scope, receive)
            async with self._slot() as slot:
                await self._app(scope, receive, slot.released_by(send))
        except ProblemError as error:
            await problem_details.from_error(error)(scope, receive, send)

    async def _read_body(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        body = await request_body.read_body(receive, headers, self._max_body_bytes, self._body_timeout_s)
        if body:
            request_body.check_json(body)
        return request_body.replay(body, receive)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[_Slot]:
        """Hold a slot. Raises Overloaded after ``MAX_WAIT_S``, and at once if too many requests wait."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._free_slots.acquire()
        except TimeoutError:
            raise Overloaded from None
        finally:
            self._waiting -= 1
        slot = _Slot(self._free_slots)
        try:
            yield slot
        finally:
            slot.release()


class _Slot:
    """A slot that is released when the response begins: a client that reads slowly occupies no thread."""

    def __init__(self, free_slots: asyncio.Semaphore) -> None:
        self._free_slots: asyncio.Semaphore | None = free_slots

    def release(self) -> None:
        """Release the slot; a second call does nothing."""
        if self._free_slots is not None:
            self._free_slots.release()
            self._free_slots = None

    def released_by(self, send: Send) -> Send:
        """Return a ``send`` that releases the slot when it is first used."""

        async def release_and_send(message: Message) -> None:
            self.release()
            await send(message)

        return release_and_send
