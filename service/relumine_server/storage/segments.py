"""Segments: the scalars and readings of one layer in one upload, until compaction makes chunks of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from relumine.wire import Upload
from relumine_server.detection.findings import Reading
from relumine_server.storage import encoding
from relumine_server.storage import tables as t
from relumine_server.storage.dialect import plain_insert
from relumine_server.storage.encoding import Segment

_COLUMNS = ("run_id", "session", "rank", "seq", *Segment._fields)
_UNNEST = """INSERT INTO segments (run_id, session, rank, seq,
 layer_id, first_step, last_step, records, columns, rates, readings)
SELECT %s, %s, %s, %s, * FROM unnest(
 %b::bigint[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[], %b::bytea[], %b::bytea[])"""


def append(connection: sa.Connection, upload: Upload, readings: Sequence[Reading]) -> None:
    """Store the scalars of an upload's records, with what the detector measured of them."""
    segments = encoding.encode(upload.records, readings)
    if segments:
        insert(connection, (upload.run.id, upload.session, upload.rank, upload.seq), segments)


def insert(connection: sa.Connection, key: tuple[str, str, int, int], segments: Sequence[Segment]) -> None:
    """Write the segments of one upload; ``key`` is its run, session, rank and seq."""
    if connection.dialect.name == "postgresql":
        columns = [list(column) for column in zip(*segments, strict=True)]
        connection.exec_driver_sql(_UNNEST, (*key, *columns))  # binary arrays: half the cost of a row each
        return
    connection.exec_driver_sql(plain_insert(t.segments, _COLUMNS), [(*key, *one) for one in segments])


def latest_readings(connection: sa.Connection, run_id: str, layer_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """The last reading of every layer that has one in a segment, with its step."""
    c, r = t.segments.c, t.runs.c
    newest = connection.execute(sa.select(r.folded_session, r.folded_seq).where(r.run_id == run_id)).first()
    if newest is None or newest.folded_session is None:
        return {}
    own = (c.run_id == run_id, c.rank == 0, c.readings.is_not(None))
    rows = sa.select(c.layer_id, c.records, c.columns, c.readings)
    last = rows.where(*own, c.layer_id.in_(layer_ids), c.session == newest.folded_session, c.seq == newest.folded_seq)
    found = {row.layer_id: _last_reading(row) for row in connection.execute(last)}  # mostly all of them
    in_order = (c.session.desc(), c.rank.desc(), c.seq.desc())  # as the key lies, so that nothing is sorted
    for layer_id in layer_ids:
        if layer_id not in found:
            query = rows.where(*own, c.layer_id == layer_id).order_by(*in_order).limit(1)
            found |= {row.layer_id: _last_reading(row) for row in connection.execute(query)}
    return found


def _last_reading(row: Any) -> dict[str, float]:
    """The last record of a segment for which a reading was taken."""
    stored = encoding.Stored(row.records, row.columns, row.readings)
    values = encoding.decode([stored], ("step", *encoding.READINGS))
    taken = np.flatnonzero(~np.isnan(values["state"]))
    return {name: float(column[taken[-1] if taken.size else -1]) for name, column in values.items()}
