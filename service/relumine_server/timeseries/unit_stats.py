"""Per-unit statistics: one row per sampled step with the columns of all its layers, so that a step costs one write.

Retention deletes whole rows when a run has used up its share of the disk; scalars are never thinned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import COLUMN_BITS, Array, RecordTable
from relumine_server.db import sqlite_driver, tables
from relumine_server.db.dialect import plain_insert
from relumine_server.timeseries import damage, packing
from relumine_server.timeseries.sessions import SessionSpans

_COUNTS = ("active", "active_positions", "silent", "longest_silence")
_CANDIDATES = 16  # rows that a search reads at a time: the first usually has the layer
_COLUMNS = ("run_id", "session", "rank", "seq", "step", "ordinal", "size_bytes", "layers", "columns")
_NO_VALUES: Array = np.zeros(0)
_INSERT_ROWS = 1_000  # rows of one statement for Postgres
_INSERT_ARRAYS = """INSERT INTO unit_stats (run_id, session, rank, seq, step, ordinal, size_bytes, layers, columns)
SELECT %s, %s, %s, %s, * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[], %b::bytea[])"""


class RowsWritten(NamedTuple):
    """The number of rows that an upload wrote, and the bytes of their columns."""

    rows: int
    size_bytes: int


class EncodedStep(NamedTuple):
    """The per-unit columns of one step: ids of its layers as int64, and the packed columns of all of them."""

    step: int
    layers: bytes
    columns: bytes


class UnitStats(NamedTuple):
    """Per-unit statistics of one record; columns of shape (units,) each."""

    step: int
    first_step: int
    n_examples: int
    n_positions: int
    columns: dict[str, Array]


class StoredStep(NamedTuple):
    """A row read back: ids of its layers, and the unpacked columns of all of them."""

    layer_ids: Array
    columns: dict[str, Array]


def append(
    connection: sa.Connection, key: tuple[str, str, int, int], steps: Sequence[EncodedStep], first_ordinal: int
) -> RowsWritten:
    """Store the per-unit columns of one upload; ``key`` is its run, session, rank and seq.

    Rows are numbered from ``first_ordinal``, the run's rows so far.
    """
    if not steps:
        return RowsWritten(0, 0)
    rows = [
        (*key, step, ordinal, len(columns), layers, columns)
        for ordinal, (step, layers, columns) in enumerate(steps, first_ordinal)
    ]
    if connection.dialect.name == "sqlite":
        sqlite_driver.execute_many(connection, plain_insert(tables.unit_stats, _COLUMNS), rows)
    else:
        for start in range(0, len(rows), _INSERT_ROWS):
            values = zip(*rows[start : start + _INSERT_ROWS], strict=True)
            arrays = [list(column) for column in values][len(key) :]
            connection.exec_driver_sql(_INSERT_ARRAYS, (*key, *arrays))
    return RowsWritten(len(rows), sum(len(step.columns) for step in steps))


def encode_steps(records: RecordTable) -> Iterator[EncodedStep]:
    """Yield each step that has per-unit columns. ``records`` are ordered by step, then layer."""
    if not records.columns:
        return
    steps = records.scalars["step"]
    starts = np.flatnonzero(np.diff(steps, prepend=-1)).tolist()
    for start, end in pairwise([*starts, steps.size]):
        if records.present[start:end].any():
            layers = records.scalars["layer_id"][start:end].astype("<i8").tobytes()
            yield EncodedStep(int(steps[start]), layers, _encode_columns(records, start, end))


def _encode_columns(records: RecordTable, start: int, end: int) -> bytes:
    columns = {
        "units": records.units[start:end].astype("<u4"),
        "present": records.present[start:end].astype("<u2"),
        "first_step": records.scalars["first_step"][start:end].astype("<f8"),
        "n_examples": records.scalars["n_examples"][start:end].astype("<f8"),
        "n_positions": records.scalars["n_positions"][start:end].astype("<f8"),
    }
    for name in records.columns:
        values = records.span(name, start, end - 1)
        if values is not None and values.size:
            columns[name] = _narrowed(values) if name in _COUNTS else values
    return packing.pack_columns(columns)


def _narrowed(counts: Array) -> Array:
    """Return counts in the smallest unsigned dtype that holds the largest of them."""
    if counts.dtype.kind != "u":
        return counts
    largest = counts.max()
    if largest < 2**8:
        return counts.astype("u1")
    return counts.astype("<u2") if largest < 2**16 else counts


def read_latest(
    connection: sa.Connection, run_id: str, layer_id: int, step: int | None, spans: SessionSpans
) -> UnitStats | None:
    """Return the unit statistics of a layer at the last shown step up to ``step``; at the latest one without it."""
    c = tables.unit_stats.c
    for row in _newest_rows(connection, run_id, step):
        if (layer_ids(row.layers) == layer_id).any() and spans.includes(row.session, row.step):
            key = (c.run_id == run_id, c.step == row.step, c.session == row.session, c.rank == 0, c.seq == row.seq)
            complete = connection.execute(sa.select(c.step, c.session, c.seq, c.layers, c.columns).where(*key)).one()
            stats = decode_layer(run_id, complete, layer_id)
            if stats is not None:
                return stats
    return None


def decode_layer(run_id: str, row: Any, layer_id: int) -> UnitStats | None:
    """Return the statistics of a layer in a row; None where it has none, or, reported, where it cannot be read."""
    indices = np.flatnonzero(layer_ids(row.layers) == layer_id)
    if not indices.size:
        return None
    try:
        return _stats_of_layer(row.step, row.columns, int(indices[0]))
    except (packing.UnreadableError, KeyError, IndexError, ValueError):
        damage.report("unit_stats", run_id, session=row.session, seq=row.seq, step=row.step)
        return None


def layer_ids(data: bytes) -> Array:
    """Return the layers of a row; none where they cannot be read."""
    return np.frombuffer(data, "<i8") if len(data) % 8 == 0 else np.zeros(0, np.int64)


def _newest_rows(connection: sa.Connection, run_id: str, step: int | None) -> Iterator[Any]:
    """Yield the rows at or before ``step`` without their columns, the latest first, read a few at a time."""
    c = tables.unit_stats.c
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


def _stats_of_layer(step: int, raw: bytes, index: int) -> UnitStats | None:
    """Return the statistics of the layer at ``index`` in a row; None if it has no per-unit columns there."""
    packed = packing.unpack_columns(raw)
    units = packed["units"].astype(np.int64)
    present = packed["present"]
    columns = {}
    for name, bit in COLUMN_BITS.items():
        if present[index] & bit:
            start = int(units[:index][(present[:index] & bit) > 0].sum())
            columns[name] = packed[name][start : start + units[index]]
    if not columns:
        return None
    return UnitStats(
        step=step,
        first_step=int(packed["first_step"][index]),
        n_examples=int(packed["n_examples"][index]),
        n_positions=int(packed["n_positions"][index]),
        columns=columns,
    )


def is_complete(connection: sa.Connection, run_id: str) -> bool:
    """Return True if every row that was ever written of a run is still stored: none was thinned."""
    stored = sa.select(sa.func.count()).where(tables.unit_stats.c.run_id == run_id).scalar_subquery()
    query = sa.select(tables.runs.c.unit_stat_rows == stored).where(tables.runs.c.run_id == run_id)
    return bool(connection.scalar(query))


def bytes_by_seq(connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int) -> dict[int, int]:
    """Return the bytes of the stored columns of uploads of rank 0, by seq."""
    c = tables.unit_stats.c
    of_uploads = (c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first_seq, last_seq))
    rows = connection.execute(sa.select(c.seq, sa.func.sum(c.size_bytes)).where(*of_uploads).group_by(c.seq))
    return {seq: int(size) for seq, size in rows}


def read_uploads(
    connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int
) -> dict[int, dict[int, StoredStep]]:
    """Return every stored row of uploads of rank 0, by seq and step."""
    c = tables.unit_stats.c
    query = sa.select(c.seq, c.step, c.layers, c.columns).where(
        c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first_seq, last_seq)
    )
    steps: dict[int, dict[int, StoredStep]] = defaultdict(dict)
    for row in connection.execute(query):
        try:
            stored = StoredStep(layer_ids(row.layers), packing.unpack_columns(row.columns))
            is_readable = _is_consistent(stored)
        except (packing.UnreadableError, KeyError):
            is_readable = False
        if is_readable:
            steps[row.seq][row.step] = stored
        else:
            damage.report("unit_stats", run_id, session=session, seq=row.seq, step=row.step)
    return steps


def _is_consistent(stored: StoredStep) -> bool:
    """Return True if every column of a row has a value for each unit that it says it has."""
    units = stored.columns["units"].astype(np.int64)
    present = stored.columns["present"]
    if not stored.layer_ids.size == units.size == present.size:
        return False
    sizes = {name: int(units[(present & bit) > 0].sum()) for name, bit in COLUMN_BITS.items()}
    return all(size == stored.columns.get(name, _NO_VALUES).size for name, size in sizes.items())
