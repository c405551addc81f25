"""The least an upload can cost: its transaction by the bare driver, without HTTP, decoding, detector or SQLAlchemy.

One connection in process, one transaction per upload, on a database that the server's own code migrated and began. A
transaction inserts the upload's key, its segments and its unit statistics (real blobs, encoded beforehand), updates the
run, and on every eighth upload reads and replaces the detector state. Eight runs take turns, as eight clients would.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from benchmarks.ingest.baseline_drivers import Driver, PsycopgDriver, Rows, Sqlite3Driver
from benchmarks.ingest.upload_shapes import EVERY, SESSION, VARIANTS, UploadBodies, decode
from relumine._export.upload_split import SEQ_STRIDE
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from relumine_server.ingest.analysis import SAVE_EVERY
from relumine_server.ingest.service import IngestService
from relumine_server.runs.session_order import FIRST_NUMBER, session_key

RUNS = 8
NOW = datetime(2026, 1, 1, tzinfo=UTC)


STORED_SESSION = session_key(FIRST_NUMBER, SESSION)


class Blobs(NamedTuple):
    """The stored form of one upload: rows of segments, and (layers, columns) of the unit statistics of each step."""

    segments: list[tuple[Any, ...]]
    unit_stats: list[tuple[bytes, bytes]]


class Baseline:
    """A database with eight runs that the bare driver writes to."""

    def __init__(self, bodies: UploadBodies, database_url: str) -> None:
        self._steps = bodies.shape.steps
        self._database = _begin_runs(bodies, database_url)
        self._blobs = _encode_variants(bodies, self._database)
        self._state = _encode_state(bodies)
        engine = self._database.writing_engine
        self._connection = engine.raw_connection()
        raw: Any = self._connection.driver_connection
        self._driver: Driver = Sqlite3Driver(raw) if engine.dialect.name == "sqlite" else PsycopgDriver(raw)
        self._now = self._driver.timestamp(NOW)
        self._uploads = RUNS

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._database.close()

    def write_for(self, seconds: float) -> tuple[int, float, float]:
        """Write uploads for so long; return their number, the wall seconds and this process's CPU seconds."""
        uploads_at_start = self._uploads
        cpu_at_start = time.process_time()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            self._driver.write(self._rows(self._uploads))
            self._uploads += 1
        return self._uploads - uploads_at_start, time.monotonic() - start, time.process_time() - cpu_at_start

    def _rows(self, ordinal: int) -> Rows:
        """Return the rows of an upload by its ordinal over all runs, which take turns."""
        number, run_index = divmod(ordinal, RUNS)
        run = f"run{run_index}"
        seq = (number + 1) * SEQ_STRIDE
        key = (run, STORED_SESSION, 0, seq)
        first_step = (number * self._steps + 1) * EVERY
        last_step = (number + 1) * self._steps * EVERY
        steps_before = number * self._steps
        blobs = self._blobs[number % VARIANTS]

        segments = []
        for layer_id, records, *values in blobs.segments:
            segments.append((*key, layer_id, first_step, last_step, records, *values))
        unit_stats = []
        for index, (layers, columns) in enumerate(blobs.unit_stats):
            step = first_step + EVERY * index
            unit_stats.append((*key, step, steps_before + index, len(columns), layers, columns))

        saves_state = ordinal % SAVE_EVERY == number % SAVE_EVERY
        rows = steps_before + self._steps
        size_bytes = steps_before * len(blobs.unit_stats[0][1])
        return Rows(
            run=run,
            upload=(*key, self._now, len(segments) * self._steps, last_step, False, True),
            segments=segments,
            unit_stats=unit_stats,
            progress=(self._now, last_step, rows, rows, size_bytes, STORED_SESSION, seq, self._now, run),
            state=(STORED_SESSION, seq, self._state, self._now, run) if saves_state else None,
        )


def _begin_runs(bodies: UploadBodies, database_url: str) -> Database:
    """Open a migrated database in which the server's own code has stored the first upload of every run."""
    database = Database.open(database_url)
    migrations.upgrade(database.writing_engine)
    ingest = IngestService("")
    for index in range(RUNS):
        upload = decode(bodies.body(f"run{index}", 0))
        database.write(partial(ingest.ingest, upload=upload, now=NOW))
    return database


def _encode_variants(bodies: UploadBodies, database: Database) -> list[Blobs]:
    """Return the blobs of each variant, as the server's own code stores them for another run."""
    ingest = IngestService("")
    for number in range(VARIANTS):
        upload = decode(bodies.body("variants", number))
        database.write(partial(ingest.ingest, upload=upload, now=NOW))
    with database.read() as connection:
        return [_read_blobs(connection, (number + 1) * SEQ_STRIDE) for number in range(VARIANTS)]


def _read_blobs(connection: sa.Connection, seq: int) -> Blobs:
    segment = tables.segments.c
    stored = sa.select(segment.layer_id, segment.record_count, segment.data, segment.learning_rates, segment.readings)
    segments = connection.execute(stored.where(segment.run_id == "variants", segment.seq == seq))
    unit = tables.unit_stats.c
    encoded = sa.select(unit.layers, unit.columns).order_by(unit.step)
    unit_stats = connection.execute(encoded.where(unit.run_id == "variants", unit.seq == seq))
    return Blobs([tuple(row) for row in segments], [(layers, columns) for layers, columns in unit_stats])


def _encode_state(bodies: UploadBodies) -> bytes:
    """Return the bytes of the detector state behind the variants."""
    state = detection_state.describe(detection_state.empty(), decode(bodies.body("r", 0)).layers)
    for number in range(VARIANTS):
        state, _readings, _findings = detector.advance(state, decode(bodies.body("r", number)).records, Policy())
    return detection_state.to_bytes(state)
