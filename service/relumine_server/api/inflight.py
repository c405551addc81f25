"""A bound on the bytes of uploads that are in flight, so that no number of clients can fill the memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from relumine_server.api import request_body
from relumine_server.errors import Busy
from relumine_server.settings import Settings

MAX_DECODING = 1  # large bodies decompressed or decoded at once: more would take the interpreter from small uploads


class Body(NamedTuple):
    """A decompressed body, and at most how many JSON values it holds (``request_body.count_values``)."""

    content: bytes
    values: int


class InflightBytes:
    """Counts the bytes of bodies that are read or processed at this moment."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        self.decoding = asyncio.Semaphore(MAX_DECODING)

    @asynccontextmanager
    async def body(self, request: Request, settings: Settings) -> AsyncIterator[Body]:
        """Read and decompress a body; its bytes count until the context ends.

        Raises BodyTooLarge, BodyTimeout, TooManyValues, UnsupportedEncoding, InvalidUpload, and Busy beyond the limit.
        """
        encoding = request.headers.get("content-encoding", "identity").lower()
        reserved = 0

        def reserve(size: int) -> None:
            nonlocal reserved
            self._reserve(size)
            reserved += size

        try:
            body = await self._read(request, encoding, settings, reserve)
            reserve(len(body.content))
            yield body
        finally:
            self.held -= reserved

    async def _read(self, request: Request, encoding: str, settings: Settings, reserve: Callable[[int], None]) -> Body:
        limit = settings.max_body_bytes
        timeout_s = settings.body_timeout_s
        body = await request_body.read_body(request.receive, request.headers, limit, timeout_s, reserve=reserve)
        if encoding != "identity":
            async with self.decoding:
                body = await run_in_threadpool(request_body.decompress, body, encoding, limit)
        return Body(body, request_body.count_values(body, settings.max_values_per_upload))

    def _reserve(self, size: int) -> None:
        if self.held + size > self._limit:
            raise Busy("too many bytes of uploads are in flight; try again shortly")
        self.held += size
