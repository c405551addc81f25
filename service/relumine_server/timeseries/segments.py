"""Rows of segments: the scalars and readings of one layer in one upload, until compaction merges many into a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import Array
from relumine_server.db import sqlite_driver, tables
from relumine_server.db.dialect import plain_insert
from relumine_server.timeseries import codec, damage
from relumine_server.timeseries.codec import Segment

MAX_LAYERS_READ = 2**31 - 1
MAX_DAMAGED = 16
"""Segments that cannot be read, behind which a latest reading is still looked for."""

_COLUMNS = ("run_id", "session", "rank", "seq", *Segment._fields)
_READING_COLUMNS = [tables.segments.c[name] for name in ("layer_id", "seq", "record_count", "data", "readings")]
_INSERT_ARRAYS = """INSERT INTO segments (run_id, session, rank, seq,
 layer_id, first_step, last_step, record_count, data, learning_rates, readings)
SELECT %s, %s, %s, %s, * FROM unnest(
 %b::bigint[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[], %b::bytea[], %b::bytea[])"""


def insert(connection: sa.Connection, key: tuple[str, str, int, int], segments: Sequence[Segment]) -> None:
    """Insert the segments of one upload; ``key`` is its run, session, rank and seq."""
    if connection.dialect.name == "postgresql":
        columns = [list(values) for values in zip(*segments, strict=True)]
        connection.exec_driver_sql(_INSERT_ARRAYS, (*key, *columns))  # binary arrays: half the cost of a row each
        return
    rows = [(*key, *segment) for segment in segments]
    sqlite_driver.execute_many(connection, plain_insert(tables.segments, _COLUMNS), rows)


def has_layer(connection: sa.Connection, run_id: str, session: str, layer_id: int) -> bool:
    """Return whether a session of a run has records of a layer."""
    stored = [
        sa.exists().where(table.c.run_id == run_id, table.c.layer_id == layer_id, table.c.session == session)
        for table in (tables.segments, tables.chunks)
    ]
    return bool(connection.scalar(sa.select(sa.or_(*stored))))


class LatestReading(NamedTuple):
    """The last reading of a layer; None for what was not measured. ``state`` is an index of ``codec.STATES``."""

    step: float | None
    state: float | None
    risk: float | None
    active_rate: float | None
    dying_fraction: float | None
    dead_fraction: float | None
    born_dead_fraction: float | None


def latest_readings(connection: sa.Connection, run_id: str) -> dict[int, LatestReading]:
    """Return the last reading of each layer that has one in a segment, with its step, by layer."""
    newest = connection.execute(_newest_rows(connection.dialect.name, run_id)).all()
    rows = damage.readable_segments(run_id, newest)
    damaged: set[int] = set()
    if len(rows) < len(newest):
        damaged = {row.layer_id for row in newest} - {row.layer_id for row in rows}
    for layer_id in sorted(damaged):
        few = connection.execute(_rows_of_layer(run_id, layer_id).limit(MAX_DAMAGED)).all()
        rows += damage.readable_segments(run_id, few)[:1]
    return _last_readings(rows)


def _newest_rows(dialect: str, run_id: str) -> sa.Select[Any]:
    """Select the newest segment with a reading of each layer, by a few look-ups in the primary key per layer."""
    return _newest_rows_of_postgres(run_id) if dialect == "postgresql" else _newest_rows_of_sqlite(run_id)


def _newest_rows_of_postgres(run_id: str) -> sa.Select[Any]:
    """Select them by a lateral join, which SQLite does not have. Its plan is the same before the table is analyzed."""
    c = tables.segments.c
    layer = tables.layers.c
    of_layer = (c.run_id == run_id, c.layer_id == layer.layer_id, c.rank == 0, c.readings.is_not(None))
    newest_first = (c.session.desc(), c.rank.desc(), c.seq.desc())  # the order of the primary key
    newest = sa.select(*_READING_COLUMNS).where(*of_layer).order_by(*newest_first).limit(1).lateral()
    return sa.select(newest).select_from(sa.join(tables.layers, newest, sa.true())).where(layer.run_id == run_id)


def _newest_rows_of_sqlite(run_id: str) -> sa.Select[Any]:
    """Select them by three look-ups per layer."""
    c = tables.segments.c
    layer = tables.layers.c
    older = tables.segments.alias()
    of_layer = sa.and_(
        older.c.run_id == run_id,
        older.c.layer_id == layer.layer_id,
        older.c.rank + 0 == 0,  # as a constant SQLite would leave it out of the order, and sort all rows of a layer
        older.c.readings.is_not(None),
    )
    newest_first = (older.c.session.desc(), older.c.rank.desc(), older.c.seq.desc())  # the order of the primary key
    session = sa.select(older.c.session).where(of_layer).order_by(*newest_first).limit(1).correlate(tables.layers)
    seq = sa.select(older.c.seq).where(of_layer).order_by(*newest_first).limit(1).correlate(tables.layers)
    positions = sa.select(
        layer.layer_id, session.scalar_subquery().label("session"), seq.scalar_subquery().label("seq")
    )
    # With a limit it is evaluated by itself, layer by layer; otherwise SQLite begins with all segments of the run.
    newest = positions.where(layer.run_id == run_id).limit(MAX_LAYERS_READ).subquery()
    is_newest = sa.and_(
        c.run_id == run_id,
        c.layer_id == newest.c.layer_id,
        c.session == newest.c.session,
        c.rank == 0,
        c.seq == newest.c.seq,
    )
    return sa.select(*_READING_COLUMNS).select_from(newest.join(tables.segments, is_newest))


def _rows_of_layer(run_id: str, layer_id: int) -> sa.Select[Any]:
    """Select the segments of a layer that have a reading, the newest first."""
    c = tables.segments.c
    of_layer = (c.run_id == run_id, c.layer_id == layer_id, c.rank + 0 == 0, c.readings.is_not(None))  # as above
    return sa.select(*_READING_COLUMNS).where(*of_layer).order_by(c.session.desc(), c.rank.desc(), c.seq.desc())


def _last_readings(rows: Sequence[Any]) -> dict[int, LatestReading]:
    """Return the statistics of the last record of each segment that has a reading, by layer."""
    if not rows:
        return {}
    segments = codec.segments_of(rows)
    columns = codec.decode(segments, LatestReading._fields)
    ends = np.cumsum([record_count for record_count, _, _ in segments])
    starts = np.concatenate([[0], ends[:-1]])
    is_measured = ~np.isnan(columns["state"])
    last_measured = np.maximum.reduceat(np.where(is_measured, np.arange(is_measured.size), -1), starts)
    last = np.where(last_measured >= 0, last_measured, ends - 1)
    values = (_numbers(columns[name][last]) for name in LatestReading._fields)
    layer_ids = codec.column_of(rows, "layer_id")
    return dict(zip(layer_ids, map(LatestReading._make, zip(*values, strict=True)), strict=True))


def _numbers(values: Array) -> list[float | None]:
    """Return values as Python numbers, None for NaN."""
    is_missing = np.isnan(values)
    numbers: list[float | None] = values.tolist()
    for index in np.flatnonzero(is_missing).tolist():
        numbers[index] = None
    return numbers
