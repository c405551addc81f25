"""Large uploads: analyzed ahead of their transaction, one at a time in each process, and callers take turns.

In its transaction a large upload would hold up all others for seconds: it is the only one on SQLite, and holds one of a
few connections on Postgres. The analysis pauses for small uploads. What remains of the transaction, about a tenth of a
second for ten thousand records, has the only writer of SQLite for a small share of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import sqlalchemy as sa

from relumine.schemas.upload import Upload
from relumine_server.clock import Clock
from relumine_server.db.database import Database
from relumine_server.errors import Busy
from relumine_server.ingest.analysis import OutdatedAnalysisError, PreparedAnalysis
from relumine_server.ingest.precedence import Pause, Precedence
from relumine_server.ingest.service import IngestResult, IngestService

LARGE_BODY_BYTES = 64 * 2**10
"""Size from which a body is decoded before its transaction."""

RECORD_MARK = b'"layer_id"'
"""In every record that is not packed, and in every description of a layer."""

FIRST_UNIT = b'"first_unit"'
"""In a body with a part of a record: however small it is, the record that it completes may be dear to analyze."""

RECORD_VALUES = 8
"""JSON values that such a record counts for at least (``request_body.count_values``)."""

LARGE_RECORDS = 256
"""Records from which an upload is analyzed ahead."""

UNITS_PER_RECORD = 1_000  # so many units cost as much as a record

MAX_ATTEMPTS = 3
"""Analyses of an upload that became outdated, as the same training uploaded meanwhile, before it is made under lock."""

WRITER_SHARE = 1 / 64
MAX_REST_S = 10.0
"""Share of the time that large uploads may have the only writer of SQLite while there are small ones, and the longest
time between two of them that it leads to."""

SHORT_CPU_S = 0.025
"""Processor time up to which a transaction is as short as that of a small upload, and leads to no rest: a part of a
record, say, that is only stored until the others arrive."""

SMALL_WITHIN_S = 1.0
"""Time since the last small upload after which there are none."""

REST_STEP_S = 0.1

MAX_WAITING = 32
"""Large uploads that wait for their turn. Their bodies count as bytes in flight as well."""


def is_large(upload: Upload) -> bool:
    """Return whether an upload is too dear to analyze in its transaction, or may complete a record that is."""
    if upload.first_unit is not None:
        return True
    return len(upload.records) + int(upload.records.units.sum()) // UNITS_PER_RECORD > LARGE_RECORDS


def rest_s(written_s: float, cpu_s: float) -> float:
    """Return how long large uploads leave the writer of SQLite to small ones after a transaction, in seconds.

    ``written_s`` is the time that the transaction took, and ``cpu_s`` the processor time of it.
    """
    return 0.0 if cpu_s <= SHORT_CPU_S else min(written_s / WRITER_SHARE, MAX_REST_S)


def has_many_records(body: bytes, values: int) -> bool:
    """Return whether a body that is not decoded yet is one of a large upload: of many records that are not packed.

    It is decoded when it is its turn. While it waits, it takes no more memory than its text. ``values``: the JSON
    values in it. Most bodies have so few that they need not be searched.
    """
    return values > RECORD_VALUES * LARGE_RECORDS and body.count(RECORD_MARK) > LARGE_RECORDS


class Turns:
    """One turn at a time. Callers that wait take turns, so that one with many requests delays others by one of them."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._is_taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Raises Busy where too many wait."""
        if self._is_taken:
            await self._wait(caller)
        self._is_taken = True
        try:
            yield
        finally:
            self._hand_over()

    async def _wait(self, caller: str) -> None:
        if sum(map(len, self._waiting.values())) >= self._max_waiting:
            raise Busy("too many large uploads are waiting; try again shortly")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._hand_over()  # the turn came at the moment at which the caller left
            raise

    def _hand_over(self) -> None:
        """Give the turn to the caller that has waited longest since its last one."""
        while self._waiting:
            caller, futures = self._waiting.popitem(last=False)
            future = futures.popleft()
            if futures:
                self._waiting[caller] = futures
            if not future.done():
                future.set_result(None)
                return
        self._is_taken = False


class _ProcessorTime:
    """The processor time of one write, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def by(self, write: Callable[[sa.Connection], IngestResult]) -> Callable[[sa.Connection], IngestResult]:
        """Return the write such that its processor time is counted."""

        def counted(connection: sa.Connection) -> IngestResult:
            started_at = time.thread_time()
            try:
                return write(connection)
            finally:
                self.seconds += time.thread_time() - started_at

        return counted


class LargeUploads:
    """Ingests large uploads."""

    def __init__(self, database: Database, ingest: IngestService, clock: Clock) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock
        self.precedence = Precedence()
        self._turns = Turns()
        self._rest_until = 0.0

    async def ingest(self, decode: Callable[[Pause], Upload], caller: str, *, is_replayed: bool) -> IngestResult:
        """Decode and analyze an upload when it is the caller's turn, and ingest it.

        Raises Busy where too many wait, what ``decode`` raises, and what ``IngestService.ingest`` raises.
        """
        async with self._turns.turn(caller):
            await self._rest()
            upload = await asyncio.to_thread(decode, self.precedence.pauses())
            for _attempt in range(MAX_ATTEMPTS):
                prepared = await asyncio.to_thread(self._prepare, upload, is_replayed=is_replayed)
                try:
                    return await self._store(upload, prepared, is_replayed=is_replayed)
                except OutdatedAnalysisError:
                    continue
            return await self._store(upload, None, is_replayed=is_replayed)

    async def _rest(self) -> None:
        """Wait until the writer is due for a large upload, as long as there are small ones."""
        while (now := time.monotonic()) < min(self._rest_until, self.precedence.last_small_at + SMALL_WITHIN_S):  # noqa: ASYNC110 - that moves on
            await asyncio.sleep(min(self._rest_until - now, REST_STEP_S))

    def _prepare(self, upload: Upload, *, is_replayed: bool) -> PreparedAnalysis | None:
        pause = self.precedence.pauses()
        with self._database.read() as connection:
            return self._ingest.prepare(connection, upload, self._clock(), is_replayed=is_replayed, pause=pause)

    async def _store(self, upload: Upload, prepared: PreparedAnalysis | None, *, is_replayed: bool) -> IngestResult:
        """Ingest an analyzed upload. On SQLite all others wait meanwhile, so that no analysis may delay it."""
        write = self._write(upload, prepared, is_replayed=is_replayed)
        if not self._database.is_exclusive:
            return await self._database.write_soon(write)
        started_at = time.monotonic()
        used = _ProcessorTime()
        try:
            with self.precedence.short_work():
                return await self._database.write_soon(used.by(write))
        finally:
            now = time.monotonic()
            self._rest_until = now + rest_s(now - started_at, used.seconds)

    def _write(
        self, upload: Upload, prepared: PreparedAnalysis | None, *, is_replayed: bool
    ) -> Callable[[sa.Connection], IngestResult]:
        def write(connection: sa.Connection) -> IngestResult:
            now = self._clock()
            return self._ingest.ingest(connection, upload, now, is_replayed=is_replayed, prepared=prepared)

        return write
