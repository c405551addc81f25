"""Rows of segments: the scalars and readings of one layer in one upload, until compaction merges many into a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.db.dialect import plain_insert
from relumine_server.timeseries import codec, damage
from relumine_server.timeseries.codec import Segment

MAX_DAMAGED = 16
"""Segments that cannot be read, behind which a latest reading is still looked for."""

_COLUMNS = ("run_id", "session", "rank", "seq", *Segment._fields)
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
    connection.exec_driver_sql(plain_insert(tables.segments, _COLUMNS), [(*key, *segment) for segment in segments])


def latest_readings(connection: sa.Connection, run_id: str, layer_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return the last reading of each layer that has one in a segment, with its step, by layer."""
    c = tables.segments.c
    r = tables.runs.c
    newest = connection.execute(sa.select(r.detector_session, r.detector_seq).where(r.run_id == run_id)).first()
    if newest is None or newest.detector_session is None:
        return {}
    rows = sa.select(c.layer_id, c.seq, c.record_count, c.data, c.readings).where(
        c.run_id == run_id, c.rank == 0, c.readings.is_not(None)
    )
    # The last processed upload has a reading of almost every layer: one query for them, one for each of the rest.
    of_last_upload = rows.where(
        c.layer_id.in_(layer_ids), c.session == newest.detector_session, c.seq == newest.detector_seq
    )
    readings = {row.layer_id: _last_reading(row) for row in _readable(run_id, connection.execute(of_last_upload).all())}
    newest_first = (c.session.desc(), c.rank.desc(), c.seq.desc())  # the order of the primary key: nothing is sorted
    for layer_id in layer_ids:
        if layer_id not in readings:
            newest_rows = connection.execute(rows.where(c.layer_id == layer_id).order_by(*newest_first).limit(1)).all()
            if newest_rows and not _readable(run_id, newest_rows):
                few = rows.where(c.layer_id == layer_id).order_by(*newest_first).limit(MAX_DAMAGED)
                newest_rows = _readable(run_id, connection.execute(few).all())
            if newest_rows:
                readings[layer_id] = _last_reading(newest_rows[0])
    return readings


def _readable(run_id: str, rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if damage.readable_segments(run_id, [row], layer_id=row.layer_id)]


def _last_reading(row: Any) -> dict[str, float]:
    """Return the statistics of the last record in a segment that has a reading."""
    segment = codec.StoredSegment(row.record_count, row.data, row.readings)
    values = codec.decode([segment], ("step", *codec.READINGS))
    measured = np.flatnonzero(~np.isnan(values["state"]))
    last = measured[-1] if measured.size else -1
    return {name: float(column[last]) for name, column in values.items()}
