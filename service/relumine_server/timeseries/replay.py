"""Stored uploads of a run, in the order in which the detector processed them.

A detector that lost its state processes them again, and a backtest processes them under another policy. Scalars come
back exactly. Per-unit columns do unless they were thinned; the records of a thinned step come without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import COLUMN_BITS, INTEGER_COLUMNS, SCALARS, Array, RecordTable
from relumine_server.db import tables
from relumine_server.db.database import Database
from relumine_server.timeseries import codec, damage, unit_stats
from relumine_server.timeseries.unit_stats import StoredStep

PAGE_UPLOADS = 64
PAGE_BYTES = 32 * 2**20
"""Uploads, and bytes of their per-unit columns, that are read at once and held in memory."""

Position: TypeAlias = tuple[str, int]
"""Session and seq of an upload of rank 0; they order the uploads of a run."""

BEGINNING: Position = ("", 0)


class StoredUpload(NamedTuple):
    """A processed upload and its records."""

    session: str
    seq: int
    records: RecordTable

    @property
    def position(self) -> Position:
        """Its position in the run."""
        return self.session, self.seq


class _Part(NamedTuple):
    """The records of a segment or chunk: scalars with ``layer_id`` and ``seq``, and learning rates of all groups."""

    scalars: Mapping[str, Array]
    learning_rates: list[tuple[float, ...] | None]


def stored_uploads(connection: sa.Connection, run_id: str) -> Iterator[StoredUpload]:
    """Yield the processed uploads of a run, within one transaction."""
    position = BEGINNING
    while page := _read_page(connection, run_id, position):
        yield from page
        position = page[-1].position


def stored_uploads_of_session(connection: sa.Connection, run_id: str, start: Position) -> Iterator[StoredUpload]:
    """Yield the processed uploads of one session after a position, within one transaction."""
    position = start
    while page := _read_page(connection, run_id, position):
        if page[0].session != start[0]:
            return
        yield from page
        position = page[-1].position


def stored_uploads_by_page(database: Database, run_id: str) -> Iterator[StoredUpload]:
    """Yield the processed uploads of a whole run. No transaction is open while the caller works on one of them."""
    position = BEGINNING
    while True:
        with database.read() as connection:
            page = _read_page(connection, run_id, position)
        if not page:
            return
        yield from page
        position = page[-1].position


def saved_seqs(connection: sa.Connection, run_id: str) -> dict[str, int]:
    """Return the seq of the last upload that each saved detector state includes, by session."""
    c = tables.detector_states.c
    return {row.session: row.seq for row in connection.execute(sa.select(c.session, c.seq).where(c.run_id == run_id))}


def _read_page(connection: sa.Connection, run_id: str, position: Position) -> list[StoredUpload]:
    """Read the next uploads of one session after a position, as many as a page may hold."""
    u = tables.uploads.c
    query = sa.select(u.session, u.seq).where(u.run_id == run_id, u.rank == 0, u.processed)
    query = query.order_by(u.session, u.seq).limit(PAGE_UPLOADS)
    session, seq = position
    keys = connection.execute(query.where(u.session == session, u.seq > seq)).all()
    keys = keys or connection.execute(query.where(u.session > session)).all()
    if not keys:
        return []
    session = keys[0].session
    seqs = [key.seq for key in keys if key.session == session]
    sizes = unit_stats.bytes_by_seq(connection, run_id, session, seqs[0], seqs[-1])
    total_bytes = np.cumsum([sizes.get(seq, 0) for seq in seqs])
    fitting = int(np.searchsorted(total_bytes, PAGE_BYTES, side="right"))
    return _read_uploads(connection, run_id, session, seqs[: max(fitting, 1)])


def _read_uploads(connection: sa.Connection, run_id: str, session: str, seqs: list[int]) -> list[StoredUpload]:
    of_uploads = (connection, run_id, session, seqs[0], seqs[-1])
    parts = [*_read_segments(*of_uploads), *_read_chunks(*of_uploads)]
    stored_steps = unit_stats.read_uploads(*of_uploads)
    scalars = {name: np.concatenate([part.scalars[name] for part in parts]) for name in ("seq", *SCALARS) if parts}
    learning_rates = [rates for part in parts for rates in part.learning_rates]
    uploads = []
    for seq in seqs:
        indices = np.flatnonzero(scalars["seq"] == seq) if parts else np.zeros(0, int)
        of_upload = {name: scalars[name][indices] if parts else np.zeros(0) for name in SCALARS}
        order = np.lexsort((of_upload["layer_id"], of_upload["step"]))
        ordered = {name: values[order] for name, values in of_upload.items()}
        rates = tuple(learning_rates[index] for index in indices[order])
        uploads.append(StoredUpload(session, seq, _records(ordered, rates, stored_steps.get(seq, {}))))
    return uploads


def _read_segments(
    connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int
) -> Iterator[_Part]:
    c = tables.segments.c
    no_readings = sa.null().label("readings")
    query = sa.select(c.layer_id, c.seq, c.record_count, c.data, c.learning_rates, no_readings).where(
        c.run_id == run_id, c.session == session, c.rank == 0, c.seq.between(first_seq, last_seq)
    )
    rows = connection.execute(query).all()
    for row in damage.readable_segments(run_id, rows, session=session):
        scalars = codec.decode([(row.record_count, row.data, None)], codec.SCALARS)
        scalars["layer_id"] = np.full(row.record_count, row.layer_id)
        scalars["seq"] = np.full(row.record_count, row.seq)
        rates = damage.learning_rates(run_id, row.learning_rates, row.record_count, session=session, seq=row.seq)
        yield _Part(scalars, rates)


def _read_chunks(
    connection: sa.Connection, run_id: str, session: str, first_seq: int, last_seq: int
) -> Iterator[_Part]:
    """Yield every chunk that has records of these uploads."""
    c = tables.chunks.c
    query = (
        sa.select(c.layer_id, c.seq, c.statistic, c.record_count, c.last, c.data)
        .where(c.run_id == run_id, c.session == session, c.rank == 0, c.seq <= last_seq, c.last_seq >= first_seq)
        .where(c.statistic.in_([*codec.SCALARS, "seq", "learning_rates"]))
        .order_by(c.layer_id, c.seq)
    )
    for (layer_id, seq), rows in groupby(connection.execute(query), key=lambda row: (row.layer_id, row.seq)):
        position = {"session": session, "layer_id": layer_id, "seq": seq}
        by_statistic = {row.statistic: row for row in rows}
        learning_rates = by_statistic.pop("learning_rates", None)
        columns = damage.chunk_columns(run_id, list(by_statistic.values()), **position)
        if not columns.keys() >= {"step", "first_step", "seq"}:
            continue
        count = columns["step"].size
        scalars = {name: np.full(count, codec.default(name)) for name in codec.SCALARS}
        scalars |= {**columns, "layer_id": np.full(count, layer_id)}
        data = None if learning_rates is None else learning_rates.data
        yield _Part(scalars, damage.learning_rates(run_id, data, count, **position))


def _records(
    scalars: Mapping[str, Array],
    learning_rates: tuple[tuple[float, ...] | None, ...],
    stored_steps: Mapping[int, StoredStep],
) -> RecordTable:
    """Return the records of one upload, with the per-unit columns of those of its steps that still have them."""
    count = scalars["step"].size
    units = np.zeros(count, np.int64)
    present = np.zeros(count, np.int64)
    columns: dict[str, list[Array]] = {}
    for step in np.unique(scalars["step"]).astype(np.int64).tolist():
        stored = stored_steps.get(step)
        indices = np.flatnonzero(scalars["step"] == step)
        if stored is None or not np.array_equal(stored.layer_ids, scalars["layer_id"][indices]):
            continue
        units[indices] = stored.columns["units"]
        present[indices] = stored.columns["present"]
        for name in COLUMN_BITS.keys() & stored.columns.keys():
            columns.setdefault(name, []).append(stored.columns[name])
    typed = {}
    for name in SCALARS:
        typed[name] = scalars[name].astype(np.int64) if name in INTEGER_COLUMNS else scalars[name]
    joined = {name: np.concatenate(columns[name]) for name in COLUMN_BITS if name in columns}
    return RecordTable(typed, units, present, joined, learning_rates)
