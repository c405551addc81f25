"""Makes chunks of segments: one row per statistic with a thousand records of a layer, and its least, greatest and last.

In the background, a bounded piece per transaction. Whatever is done is done whole; doing it again does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.table import Array
from relumine_server.storage import encoding, states
from relumine_server.storage import tables as t

CHUNK = 1024
"""Records of a chunk: at this size reading a million of them is a thousand short rows."""

PIECE = 16 * CHUNK
"""Records of all layers that one transaction takes on: about 20 ms of a writer."""


class Stream(NamedTuple):
    """The segments of one layer that one process wrote in one session."""

    layer_id: int
    session: str
    rank: int


def due(connection: sa.Connection, limit: int) -> list[str]:
    """Runs with enough loose records for a chunk, or that have ended with some; those with most first."""
    c = t.runs.c
    ended = sa.and_(c.state != "running", c.loose_records > 0)
    query = sa.select(c.run_id).where(sa.or_(c.loose_records >= 2 * CHUNK, ended))
    return list(connection.scalars(query.order_by(c.loose_records.desc()).limit(limit)))


def compact(connection: sa.Connection, run_id: str) -> int:
    """Compact a bounded piece of a run; the number of records that went into chunks, 0 where nothing is left to do.

    What the saved detector state does not include stays as it is: it may have to be folded again. So does the newest
    segment of a layer that has a reading, and what came after it.
    """
    c = t.runs.c
    run = connection.execute(sa.select(c.state).where(c.run_id == run_id).with_for_update()).first()
    if run is None:
        return 0
    least = 1 if run.state != "running" else CHUNK
    saved = states.saved_version(connection, run_id)
    done = 0
    for stream in _streams(connection, run_id, least):
        while done < PIECE and (made := _one_chunk(connection, run_id, stream, least, saved)):
            done += made
    if not done:
        left = _loose(connection, run_id, CHUNK) if run.state == "running" else 0
        connection.execute(sa.update(t.runs).where(c.run_id == run_id).values(loose_records=left))
    return done


def _streams(connection: sa.Connection, run_id: str, least: int) -> list[Stream]:
    c = t.segments.c
    key = (c.layer_id, c.session, c.rank)
    query = sa.select(*key).where(c.run_id == run_id).group_by(*key).having(sa.func.sum(c.records) >= least)
    return [Stream(*row) for row in connection.execute(query.order_by(*key))]


def _loose(connection: sa.Connection, run_id: str, least: int) -> int:
    """The most records that any stream still has in segments, as far as the next pass could take them."""
    c = t.segments.c
    sums = (
        sa.select(sa.func.sum(c.records).label("n")).where(c.run_id == run_id).group_by(c.layer_id, c.session, c.rank)
    )
    found = connection.scalar(sa.select(sa.func.max(sums.subquery().c.n)))
    return 0 if found is None or found < least else int(found)


def _one_chunk(connection: sa.Connection, run_id: str, stream: Stream, least: int, saved: tuple[str, int]) -> int:
    """Make a chunk of the oldest segments of a stream; the number of its records."""
    c = t.segments.c
    own = (c.run_id == run_id, c.layer_id == stream.layer_id, c.session == stream.session, c.rank == stream.rank)
    judged = sa.case((c.readings.is_not(None), c.seq))
    newest = sa.select(sa.func.coalesce(sa.func.max(judged), sa.func.max(c.seq))).where(*own).scalar_subquery()
    query = sa.select(c.seq, c.records).where(*own, c.seq < newest).order_by(c.seq).limit(CHUNK)
    if not stream.rank and stream.session >= saved[0]:
        query = query.where(c.seq <= (saved[1] if stream.session == saved[0] else 0))
    chosen = _enough(connection.execute(query).all())
    if sum(row.records for row in chosen) < least:
        return 0
    oldest = sa.and_(*own, c.seq.between(chosen[0].seq, chosen[-1].seq))
    rows = sa.select(c.seq, c.records, c.columns, c.rates, c.readings).where(oldest).order_by(c.seq)
    records = _insert(connection, run_id, stream, connection.execute(rows).all())
    connection.execute(sa.delete(t.segments).where(oldest))
    return records


def _enough(rows: Sequence[Any]) -> Sequence[Any]:
    """As many of the first rows as make a chunk."""
    ends = np.cumsum([row.records for row in rows])
    return rows[: int(np.searchsorted(ends, CHUNK)) + 1]


def _insert(connection: sa.Connection, run_id: str, stream: Stream, rows: Sequence[Any]) -> int:
    stored = [encoding.Stored(row.records, row.columns, row.readings) for row in rows]
    counts = [row.records for row in rows]
    columns = encoding.decode(stored, encoding.STATISTICS)
    columns["seq"] = np.repeat(np.array([row.seq for row in rows], np.float64), counts)
    place = {
        "run_id": run_id,
        **stream._asdict(),
        "seq": rows[0].seq,
        "last_seq": rows[-1].seq,
        "first_step": int(columns["first_step"].min()),
        "last_step": int(columns["step"].max()),
        "records": sum(counts),
    }
    chosen = encoding.shown(columns["step"])
    chunks = [chunk for name, values in columns.items() if (chunk := _chunk(name, values, chosen)) is not None]
    rates = [own for row in rows for own in encoding.decode_rates(row.rates, row.records)]
    if (packed := encoding.encode_rates(rates)) is not None:
        chunks.append({"statistic": "learning_rates", **encoding.Summary(None, None, None)._asdict(), "data": packed})
    connection.execute(sa.insert(t.chunks), [{**place, **chunk} for chunk in chunks])
    return sum(counts)


def _chunk(name: str, values: Array, chosen: Array) -> dict[str, Any] | None:
    encoded = encoding.encode_chunk(name, values, chosen)
    return None if encoded is None else {"statistic": name, **encoded[0]._asdict(), "data": encoded[1]}
