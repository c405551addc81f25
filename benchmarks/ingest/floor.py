"""The floor: what the bare driver takes for the transaction of an upload: no HTTP, decoding, detector or SQLAlchemy.

In process, one connection, one transaction per upload, on a database that the server's own code has migrated and begun.
Key of the upload, rows of segments and units (real blobs), every eighth time the detector's state read and put in place
again, the run's row, commit. Blobs are made beforehand; keys are made anew. Eight runs in turn, as eight clients send.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from drivers import Driver, Postgres, Rows, Sqlite
from shapes import EVERY, SESSION, VARIANTS, Bodies

from relumine._uploads import SEQ_STRIDE
from relumine_server.api.uploads import decode
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy
from relumine_server.ingest import SAVE_EVERY, Ingest
from relumine_server.storage import encoding, migrate, units
from relumine_server.storage.encoding import Segment
from relumine_server.storage.store import Store

RUNS = 8
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Blobs(NamedTuple):
    """What one upload becomes: its segments, and layers and columns of each of its steps."""

    segments: list[Segment]
    units: list[tuple[int, bytes, bytes]]


class Floor:
    """A database with eight runs, written to by the bare driver."""

    def __init__(self, bodies: Bodies, database_url: str) -> None:
        self._steps = bodies.shape.steps
        self._blobs, self._state = _prepared(bodies)
        self._store = _begun(bodies, database_url)
        engine = self._store.writing_engine
        self._connection = engine.raw_connection()
        raw: Any = self._connection.driver_connection
        self._driver: Driver = Sqlite(raw) if engine.dialect.name == "sqlite" else Postgres(raw)
        self._now = self._driver.moment(NOW)
        self._turn = RUNS

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._store.close()

    def write_for(self, seconds: float) -> tuple[int, float, float]:
        """Write uploads for so long; how many, the seconds it took, and those of this process's processor."""
        began, spent, first = time.monotonic(), time.process_time(), self._turn
        while time.monotonic() - began < seconds:
            self._driver.write(self._rows(self._turn))
            self._turn += 1
        return self._turn - first, time.monotonic() - began, time.process_time() - spent

    def _rows(self, turn: int) -> Rows:
        """The next upload of the next run."""
        number, place = divmod(turn, RUNS)
        run, seq, blobs = f"run{place}", (number + 1) * SEQ_STRIDE, self._blobs[number % VARIANTS]
        steps = self._steps
        first, last = (number * steps + 1) * EVERY, (number + 1) * steps * EVERY
        key, done = (run, SESSION, 0, seq), number * steps
        ordinals = enumerate(blobs.units, done)
        stored = [(first + EVERY * (at - done), at, len(blob), layers, blob) for at, (_, layers, blob) in ordinals]
        return Rows(
            run,
            (*key, self._now, len(blobs.segments) * steps, last, False, True),
            [(*key, one.layer_id, first, last, *one[3:]) for one in blobs.segments],
            [(*key, *row) for row in stored],
            (self._now, last, done + steps, done + steps, done * stored[0][2], SESSION, seq, self._now, run),
            (SESSION, seq, self._state, self._now, run) if turn % SAVE_EVERY == number % SAVE_EVERY else None,
        )


def _begun(bodies: Bodies, database_url: str) -> Store:
    """A database that is migrated, in which the server's own code has taken the first upload of every run."""
    store = Store.open(database_url)
    migrate.upgrade(store.writing_engine)
    ingest = Ingest("")
    for place in range(RUNS):
        upload = decode(bodies.body(f"run{place}", 0))
        store.write(partial(ingest.take, upload=upload, now=NOW))
    return store


def _prepared(bodies: Bodies) -> tuple[list[Blobs], bytes]:
    """Blobs of the variants of an upload, and the bytes of the detector's state behind them."""
    state, found = detector.describe(detector.empty(), decode(bodies.body("r", 0)).layers), []
    for number in range(VARIANTS):
        records = decode(bodies.body("r", number)).records
        state, readings, _ = onset.advance(state, records, Policy())
        found.append(Blobs(encoding.encode(records, readings), list(units._encode(records))))  # noqa: SLF001 - real blobs
    return found, detector.to_bytes(state)
