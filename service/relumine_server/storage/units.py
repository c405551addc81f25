"""Per-unit columns: one row per sampled step with all its layers, so that a step costs one write however many they are.

Rows are deleted whole when a run's share of the disk is used up (``retention``); scalars are never thinned.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.table import BITS, Array, RecordTable
from relumine.wire import Upload
from relumine_server.storage import packing
from relumine_server.storage import tables as t
from relumine_server.storage.dialect import plain_insert
from relumine_server.storage.sessions import Spans

_SHRINKING = ("active", "active_positions", "silent", "longest_silence")
_CANDIDATES = 16
_COLUMNS = ("run_id", "session", "rank", "seq", "step", "ordinal", "size", "layers", "columns")
_INSERT = sa.insert(t.unit_rows)


class Written(NamedTuple):
    """How many rows were written, and their bytes."""

    rows: int
    size: int


class UnitsAt(NamedTuple):
    """The units of one layer at one step; columns of shape (units,) each."""

    step: int
    first_step: int
    n_examples: int
    n_positions: int
    columns: dict[str, Array]


def append(connection: sa.Connection, upload: Upload, ordinal: int) -> Written:
    """Store the unit columns of an upload; ``ordinal`` is how many rows the run has had before."""
    encoded = list(_encode(upload.records))
    if not encoded:
        return Written(0, 0)
    key = (upload.run.id, upload.session, upload.rank, upload.seq)
    rows = [
        (*key, step, ordinal + place, len(blob), layers, blob) for place, (step, layers, blob) in enumerate(encoded)
    ]
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(plain_insert(t.unit_rows, _COLUMNS), rows)
    else:
        connection.execute(_INSERT, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    return Written(len(rows), sum(len(blob) for _, _, blob in encoded))


def _encode(table: RecordTable) -> Iterator[tuple[int, bytes, bytes]]:
    """Step, layers and columns of each step that has units. ``table`` is in the order of a series."""
    if not table.columns:
        return
    steps = table.scalars["step"]
    bounds = [*np.flatnonzero(np.diff(steps, prepend=-1)).tolist(), steps.size]
    for first, last in pairwise(bounds):
        if table.present[first:last].any():
            layers = table.scalars["layer_id"][first:last].astype("<i8").tobytes()
            yield int(steps[first]), layers, _encode_step(table, first, last)


def _encode_step(table: RecordTable, first: int, last: int) -> bytes:
    columns = {
        "units": table.units[first:last].astype("<u4"),
        "present": table.present[first:last].astype("<u2"),
        **{name: table.scalars[name][first:last].astype("<f8") for name in ("first_step", "n_examples", "n_positions")},
    }
    for name in table.columns:
        values = table.span(name, first, last - 1)
        if values is not None and values.size:
            columns[name] = _shrunk(values) if name in _SHRINKING else values
    return packing.pack({}, columns)


def _shrunk(values: Array) -> Array:
    """Counts in as few bytes as the largest of this step needs."""
    if values.dtype.kind != "u":
        return values
    largest = values.max()
    return values.astype("u1" if largest < 2**8 else "<u2" if largest < 2**16 else values.dtype)


def load(connection: sa.Connection, run_id: str, layer_id: int, step: int | None, spans: Spans) -> UnitsAt | None:
    """The units of a layer at the last record at or before ``step`` that the run shows; the latest without one."""
    c = t.unit_rows.c
    for row in _candidates(connection, run_id, step):
        place = np.flatnonzero(np.frombuffer(row.layers, "<i8") == layer_id)
        if place.size and spans.shows(row.session, row.step):
            key = (c.run_id == run_id, c.step == row.step, c.session == row.session, c.rank == 0, c.seq == row.seq)
            raw = connection.execute(sa.select(c.columns).where(*key)).scalar_one()
            found = _of_layer(row.step, raw, int(place[0]))
            if found is not None:
                return found
    return None


def _candidates(connection: sa.Connection, run_id: str, step: int | None) -> Iterator[Any]:
    """Rows at or before ``step``, the latest first, a few at a time: mostly the first will do."""
    c = t.unit_rows.c
    query = (
        sa.select(c.step, c.session, c.seq, c.layers)
        .where(c.run_id == run_id, c.rank == 0)
        .order_by(c.step.desc(), c.session.desc(), c.seq.desc())
        .limit(_CANDIDATES)
    )
    if step is not None:
        query = query.where(c.step <= step)
    rows = connection.execute(query).all()
    while rows:
        yield from rows
        last = sa.tuple_(*(sa.literal(value) for value in rows[-1][:3]))
        rows = connection.execute(query.where(sa.tuple_(c.step, c.session, c.seq) < last)).all()


def _of_layer(step: int, raw: bytes, place: int) -> UnitsAt | None:
    _, packed = packing.unpack(raw)
    units, present = packed["units"].astype(np.int64), packed["present"]
    columns = {}
    for name, bit in BITS.items():
        if present[place] & bit:
            before = int(units[:place][(present[:place] & bit) > 0].sum())
            columns[name] = packed[name][before : before + units[place]]
    first_step, n_examples, n_positions = (int(packed[n][place]) for n in ("first_step", "n_examples", "n_positions"))
    return UnitsAt(step, first_step, n_examples, n_positions, columns) if columns else None


def is_whole(connection: sa.Connection, run_id: str) -> bool:
    """Whether every row that was ever written of a run is still there: none was thinned."""
    kept = sa.select(sa.func.count()).where(t.unit_rows.c.run_id == run_id).scalar_subquery()
    return bool(connection.scalar(sa.select(t.runs.c.unit_rows == kept).where(t.runs.c.run_id == run_id)))


def sizes(connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int) -> dict[int, int]:
    """Bytes of the stored unit columns of these uploads of rank 0, by seq."""
    c = t.unit_rows.c
    own = (c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first_seq, last_seq))
    rows = connection.execute(sa.select(c.seq, sa.func.sum(c.size)).where(*own).group_by(c.seq))
    return {seq: int(size) for seq, size in rows}


def load_uploads(
    connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int
) -> dict[tuple[int, int], tuple[Array, dict[str, Array]]]:
    """Layers and packed columns of every stored row of these uploads of rank 0, by (seq, step)."""
    c = t.unit_rows.c
    query = sa.select(c.seq, c.step, c.layers, c.columns).where(
        c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first_seq, last_seq)
    )
    return {
        (row.seq, row.step): (np.frombuffer(row.layers, "<i8"), packing.unpack(row.columns)[1])
        for row in connection.execute(query)
    }
