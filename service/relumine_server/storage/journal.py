"""The uploads of a run again, as they were folded: what a detector that lost its state, or another one, folds.

Scalars come back exactly. Unit columns do, as long as they were not thinned; a step that was comes without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa

from relumine.table import BITS, SCALARS, WHOLE, Array, RecordTable
from relumine_server.storage import encoding, units
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

BATCH, BATCH_BYTES = 64, 32 * 2**20
"""Uploads, and bytes of their unit columns, that are read at once and held in memory."""

Uploads = list[tuple[str, int, RecordTable]]
Units = dict[tuple[int, int], tuple[Array, dict[str, Array]]]


def tables(
    connection: sa.Connection, run_id: str, after: tuple[str, int] = ("", 0)
) -> Iterator[tuple[str, int, RecordTable]]:
    """Session, seq and records of the folded uploads behind ``after``, in the order of the fold."""
    while found := _batch(connection, run_id, after):
        yield from found
        after = found[-1][:2]


def pages(store: Store, run_id: str) -> Iterator[tuple[str, int, RecordTable]]:
    """``tables`` of a whole run, of which no transaction is open while one of them is looked at."""
    after = ("", 0)
    while True:
        with store.read() as connection:
            found = _batch(connection, run_id, after)
        if not found:
            return
        yield from found
        after = found[-1][:2]


def _batch(connection: sa.Connection, run_id: str, after: tuple[str, int]) -> Uploads:
    """The next uploads of one session, as many as may be held."""
    u = t.uploads.c
    query = sa.select(u.session, u.seq).where(u.run_id == run_id, u.rank == 0, u.folded).limit(BATCH)
    query = query.order_by(u.session, u.seq)
    session, seq = after
    keys = connection.execute(query.where(u.session == session, u.seq > seq)).all()
    keys = keys or connection.execute(query.where(u.session > session)).all()
    if not keys:
        return []
    session = keys[0].session
    seqs = [key.seq for key in keys if key.session == session]
    sizes = units.sizes(connection, run_id, session, seqs[0], seqs[-1])
    fitting = int(np.searchsorted(np.cumsum([sizes.get(seq, 0) for seq in seqs]), BATCH_BYTES, side="right"))
    return list(_read(connection, run_id, session, seqs[: max(fitting, 1)]))


def _read(
    connection: sa.Connection, run_id: str, session: str, seqs: list[int]
) -> Iterator[tuple[str, int, RecordTable]]:
    place = (run_id, session, seqs[0], seqs[-1])
    parts = [*_segments(connection, *place), *_chunks(connection, *place)]
    found = units.load_uploads(connection, *place)
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in ("seq", *SCALARS)} if parts else {}
    rates = [own for _, part in parts for own in part]
    for seq in seqs:
        chosen = np.flatnonzero(columns["seq"] == seq) if parts else np.zeros(0, int)
        scalars = {name: columns[name][chosen] if parts else np.zeros(0) for name in SCALARS}
        order = np.lexsort((scalars["layer_id"], scalars["step"]))
        yield (
            session,
            seq,
            _table({n: v[order] for n, v in scalars.items()}, [rates[p] for p in chosen[order]], found, seq),
        )


def _segments(connection: sa.Connection, run_id: str, session: str, first: int, last: int) -> Iterator[Any]:
    """Scalars with ``seq`` and ``layer_id``, and learning rates, of each segment."""
    c = t.segments.c
    query = sa.select(c.layer_id, c.seq, c.records, c.columns, c.rates).where(
        c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first, last)
    )
    for row in connection.execute(query):
        values = encoding.decode([encoding.Stored(row.records, row.columns, None)], encoding.SCALARS)
        key = {"layer_id": np.full(row.records, row.layer_id), "seq": np.full(row.records, row.seq)}
        yield values | key, encoding.decode_rates(row.rates, row.records)


def _chunks(connection: sa.Connection, run_id: str, session: str, first: int, last: int) -> Iterator[Any]:
    """The same of each chunk that has to do with these uploads."""
    c = t.chunks.c
    query = (
        sa.select(c.layer_id, c.seq, c.statistic, c.records, c.latest, c.data)
        .where(c.run_id == run_id, c.session == session, c.rank == 0, c.seq <= last, c.last_seq >= first)
        .where(c.statistic.in_([*encoding.SCALARS, "seq", "learning_rates"]))
        .order_by(c.layer_id, c.seq)
    )
    for (layer_id, _), rows in groupby(connection.execute(query), key=lambda row: (row.layer_id, row.seq)):
        known = {row.statistic: row for row in rows}
        size = known["step"].records
        raw = known.pop("learning_rates", None)
        values = {n: encoding.decode_chunk(n, row.data, row.latest, row.records) for n, row in known.items()}
        missing = {n: np.full(size, encoding.default(n)) for n in encoding.SCALARS if n not in values}
        rates = encoding.decode_rates(None if raw is None else raw.data, size)
        yield {**values, **missing, "layer_id": np.full(size, layer_id)}, rates


def _table(scalars: dict[str, Array], rates: list[Any], found: Units, seq: int) -> RecordTable:
    """One upload, with the unit columns of those of its steps that still have them."""
    size = scalars["step"].size
    counts, present = np.zeros(size, np.int64), np.zeros(size, np.int64)
    columns: dict[str, list[Array]] = {}
    for step in np.unique(scalars["step"]).astype(np.int64).tolist():
        layers, packed = found.get((seq, step), (None, {}))
        places = np.flatnonzero(scalars["step"] == step)
        if layers is not None and np.array_equal(layers, scalars["layer_id"][places]):
            counts[places], present[places] = packed["units"], packed["present"]
            for name in BITS.keys() & packed.keys():
                columns.setdefault(name, []).append(packed[name])
    whole = {name: scalars[name].astype(np.int64) if name in WHOLE else scalars[name] for name in SCALARS}
    joined = {name: np.concatenate(columns[name]) for name in BITS if name in columns}
    return RecordTable(whole, counts, present, joined, tuple(rates))
