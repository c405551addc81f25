"""Lets requests to their handlers: so many at once, and each only when all of its body is here.

Threads are few, and uploads need them too. A body that drips, or a reader that does not read, takes nobody's turn.
Uploads pass by: they have a queue of their own (``Intake``, ``Store``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import bodies, problems
from relumine_server.errors import Overloaded, ProblemError
from relumine_server.settings import Settings

PATIENCE_S = 2.0  # that a request waits for its turn
WAITING = 512  # requests that may wait
PASSING = frozenset({"/v1/uploads", "/livez", "/readyz", "/metrics"})
"""Own queue, or needed most when everything else is stuck."""

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Turns:
    """Holds requests until it is their turn."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._limit, self._timeout_s = settings.max_request_bytes, settings.body_timeout_s
        self._free = asyncio.Semaphore(settings.max_requests_at_once)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, wait, hand on."""
        if scope["type"] != "http" or scope["path"] in PASSING:
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] not in BODILESS:
                receive = await self._whole(scope, receive)
            async with self._turn() as turn:
                await self._app(scope, receive, turn.ended_by(send))
        except ProblemError as error:
            await problems.of(error)(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        body = await bodies.read(receive, headers, self._limit, self._timeout_s)
        if body:
            bodies.check_json(body)
        return bodies.replayed(body, receive)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[_Turn]:
        """One of so many. Raises Overloaded after a while, and at once where many wait."""
        if self._waiting >= WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded from None
        finally:
            self._waiting -= 1
        turn = _Turn(self._free)
        try:
            yield turn
        finally:
            turn.end()


class _Turn:
    """Is over when the answer begins: who reads it slowly keeps no thread."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free

    def end(self) -> None:
        """Make room."""
        if self._free is not None:
            self._free.release()
            self._free = None

    def ended_by(self, send: Send) -> Send:
        """A ``send`` that makes room when it is first used."""

        async def sending(message: Message) -> None:
            self.end()
            await send(message)

        return sending
