"""Compaction: many segments of a layer become a chunk, one row per statistic with its minimum, maximum and last value.

It runs in the background, a bounded batch per transaction. A batch is complete or nothing of it is stored, and what is
compacted already is not touched again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import Array
from relumine_server.db import tables
from relumine_server.timeseries import codec, damage, replay

CHUNK_RECORDS = 1024
"""Records of a chunk: at this size reading a million of them is a thousand short rows."""

BATCH_RECORDS = 16 * CHUNK_RECORDS
"""Records of all layers that one transaction compacts: about 20 ms of a writer."""


class Stream(NamedTuple):
    """The segments of one layer that one process wrote in one session."""

    layer_id: int
    session: str
    rank: int


def is_due() -> sa.ColumnElement[bool]:
    """Return the condition for runs to compact: enough records for two chunks, or any once the run has ended."""
    c = tables.runs.c
    has_ended = sa.and_(c.status != "running", c.uncompacted_records > 0)
    return sa.or_(c.uncompacted_records >= 2 * CHUNK_RECORDS, has_ended)


def due(connection: sa.Connection, limit: int) -> list[str]:
    """Return the runs to compact, those with the most uncompacted records first."""
    c = tables.runs.c
    query = sa.select(c.run_id).where(is_due())
    return list(connection.scalars(query.order_by(c.uncompacted_records.desc()).limit(limit)))


def compact(connection: sa.Connection, run_id: str) -> int:
    """Compact a batch of a run; returns the number of records that went into chunks, 0 where none are left to compact.

    Segments after a saved detector state are left as they are, because the detector may process them again. So are
    the newest segment of a layer that has a reading, and those after it.
    """
    c = tables.runs.c
    run = connection.execute(sa.select(c.status).where(c.run_id == run_id).with_for_update()).first()
    if run is None:
        return 0
    min_records = CHUNK_RECORDS if run.status == "running" else 1
    saved = replay.saved_seqs(connection, run_id)
    compacted = 0
    for stream in _streams(connection, run_id, min_records):
        while compacted < BATCH_RECORDS:
            count = _compact_oldest(connection, run_id, stream, min_records, saved)
            if not count:
                break
            compacted += count
    if not compacted:
        left = _uncompacted_records(connection, run_id) if run.status == "running" else 0
        connection.execute(sa.update(tables.runs).where(c.run_id == run_id).values(uncompacted_records=left))
    return compacted


def _streams(connection: sa.Connection, run_id: str, min_records: int) -> list[Stream]:
    c = tables.segments.c
    key = (c.layer_id, c.session, c.rank)
    query = sa.select(*key).where(c.run_id == run_id).group_by(*key).having(sa.func.sum(c.record_count) >= min_records)
    return [Stream(*row) for row in connection.execute(query.order_by(*key))]


def _uncompacted_records(connection: sa.Connection, run_id: str) -> int:
    """Return the most records that a stream has in segments; 0 where no stream has enough for a chunk."""
    c = tables.segments.c
    per_stream = (
        sa.select(sa.func.sum(c.record_count).label("records"))
        .where(c.run_id == run_id)
        .group_by(c.layer_id, c.session, c.rank)
        .subquery()
    )
    most = connection.scalar(sa.select(sa.func.max(per_stream.c.records)))
    return 0 if most is None or most < CHUNK_RECORDS else int(most)


def _compact_oldest(
    connection: sa.Connection, run_id: str, stream: Stream, min_records: int, saved: Mapping[str, int]
) -> int:
    """Make a chunk of the oldest segments of a stream; returns the number of its records."""
    c = tables.segments.c
    of_stream = (c.run_id == run_id, c.layer_id == stream.layer_id, c.session == stream.session, c.rank == stream.rank)
    seq_with_reading = sa.case((c.readings.is_not(None), c.seq))
    newest = sa.func.coalesce(sa.func.max(seq_with_reading), sa.func.max(c.seq))
    before_newest = c.seq < sa.select(newest).where(*of_stream).scalar_subquery()
    query = sa.select(c.seq, c.record_count).where(*of_stream, before_newest).order_by(c.seq).limit(CHUNK_RECORDS)
    if not stream.rank and stream.session in saved:
        query = query.where(c.seq <= saved[stream.session])
    oldest = _enough_for_chunk(connection.execute(query).all())
    if sum(row.record_count for row in oldest) < min_records:
        return 0
    is_oldest = sa.and_(*of_stream, c.seq.between(oldest[0].seq, oldest[-1].seq))
    columns = sa.select(c.seq, c.record_count, c.data, c.learning_rates, c.readings)
    rows = connection.execute(columns.where(is_oldest).order_by(c.seq)).all()
    readable = damage.readable_segments(run_id, rows, **stream._asdict())
    if not readable:
        return 0
    count = _insert_chunk(connection, run_id, stream, readable)
    # What cannot be read stays as it is: it may be repaired.
    damaged = sorted({row.seq for row in rows} - {row.seq for row in readable})
    connection.execute(sa.delete(tables.segments).where(is_oldest, c.seq.not_in(damaged)))
    return count


def _enough_for_chunk(rows: Sequence[Any]) -> Sequence[Any]:
    """Return as many of the first rows as make a chunk."""
    ends = np.cumsum([row.record_count for row in rows])
    return rows[: int(np.searchsorted(ends, CHUNK_RECORDS)) + 1]


def _insert_chunk(connection: sa.Connection, run_id: str, stream: Stream, rows: Sequence[Any]) -> int:
    """Insert the statistics of segments as a chunk; returns the number of its records."""
    counts = [row.record_count for row in rows]
    segments = codec.segments_of(rows)
    columns = codec.decode(segments, codec.STATISTICS)
    columns["seq"] = np.repeat(np.array([row.seq for row in rows], np.float64), counts)
    chunk = {
        "run_id": run_id,
        **stream._asdict(),
        "seq": rows[0].seq,
        "last_seq": rows[-1].seq,
        "first_step": int(columns["first_step"].min()),
        "last_step": int(columns["step"].max()),
        "record_count": sum(counts),
    }
    statistics = [*_encode_statistics(columns), *_encode_learning_rates(run_id, rows)]
    connection.execute(sa.insert(tables.chunks), [{**chunk, **statistic} for statistic in statistics])
    return sum(counts)


def _encode_statistics(columns: dict[str, Array]) -> list[dict[str, Any]]:
    visible = codec.latest_per_step(columns["step"])
    statistics = []
    for name, values in columns.items():
        encoded = codec.encode_chunk(name, values, visible)
        if encoded is not None:
            summary, data = encoded
            statistics.append({"statistic": name, **summary._asdict(), "data": data})
    return statistics


def _encode_learning_rates(run_id: str, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the learning rates of all parameter groups as one more statistic, if any record has them."""
    learning_rates = []
    for row in rows:
        learning_rates += damage.learning_rates(run_id, row.learning_rates, row.record_count, seq=row.seq)
    data = codec.encode_learning_rates(learning_rates)
    if data is None:
        return []
    return [{"statistic": "learning_rates", "min": None, "max": None, "last": None, "data": data}]
