"""Series of a run: chunks and segments of the sessions that are shown, in the order of steps.

Where there are more records than asked for, whole chunks are answered from their summaries and their data is not read.
Of a step that several uploads of a session hold, the one with the highest seq is shown, however they are stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.table import Array
from relumine_server.storage import encoding, sessions
from relumine_server.storage import tables as t
from relumine_server.storage.sessions import Span

Columns = dict[str, Array]


class Asked(NamedTuple):
    """What is to be read: statistics of layers of a run, for so many points; without them, every record."""

    run_id: str
    layer_ids: Sequence[int]
    names: Sequence[str]
    points: int | None


class Spread(NamedTuple):
    """A layer's series as pieces, each with how many records it stands for; shape (pieces,) each.

    A piece is one record, or a whole chunk of which the least, greatest and last value are known.
    """

    weight: Array
    step: Array
    least: Columns
    greatest: Columns
    latest: Columns


def load(
    connection: sa.Connection, run_id: str, layer_ids: Sequence[int], names: Sequence[str], *, steps: tuple[int, int]
) -> dict[int, Columns]:
    """Every record of these layers between two steps: the statistics and ``step``, by layer."""
    found = spread(connection, run_id, layer_ids, names, steps=steps, points=None)
    return {layer_id: {**one.latest, "step": one.step} for layer_id, one in found.items()}


def spread(
    connection: sa.Connection,
    run_id: str,
    layer_ids: Sequence[int],
    names: Sequence[str],
    *,
    steps: tuple[int, int],
    points: int | None,
) -> dict[int, Spread]:
    """Series of these layers, fine enough for ``points`` points (without it, every record); none of empty layers."""
    pieces: dict[int, list[Spread]] = defaultdict(list)
    for span in sessions.load(connection, run_id).within(*steps).parts:
        asked = Asked(run_id, layer_ids, [*names, "seq"] if span.disordered else names, points)
        older = _from_chunks(connection, asked, span)
        newer = _from_segments(connection, asked, span)
        for layer_id in layer_ids:
            own = [*older.get(layer_id, []), *newer.get(layer_id, [])]
            pieces[layer_id] += [_in_order(_joined(own), names)] if own else []
    return {layer_id: _joined(own) for layer_id, own in pieces.items() if own}


def _from_segments(connection: sa.Connection, asked: Asked, span: Span) -> dict[int, list[Spread]]:
    c = t.segments.c
    query = (
        sa.select(c.layer_id, c.seq, c.records, c.columns, c.readings)
        .where(c.run_id == asked.run_id, c.layer_id.in_(asked.layer_ids), c.session == span.session, c.rank == 0)
        .where(c.last_step >= span.first, c.first_step <= span.last)
        .order_by(c.layer_id, c.seq)
    )
    if span.first > span.began and not span.disordered:
        query = query.where(c.seq > _seq_before(connection, asked.run_id, span))
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        rows[row.layer_id].append(row)
    return {layer_id: [_records(_decoded(own, asked.names), asked.names, span)] for layer_id, own in rows.items()}


def _decoded(rows: Sequence[Any], names: Sequence[str]) -> Columns:
    """Segments one after the other."""
    columns = encoding.decode([encoding.Stored(*row[2:]) for row in rows], ("step", *names))
    if "seq" in names:
        columns["seq"] = np.repeat(np.array([row.seq for row in rows], np.float64), [row.records for row in rows])
    return columns


def _seq_before(connection: sa.Connection, run_id: str, span: Span) -> int:
    """The last upload of a session that lies wholly before the span: what is older need not be looked at. Or 0."""
    u = t.uploads.c
    query = sa.select(u.seq).where(u.run_id == run_id, u.session == span.session, u.rank == 0, u.last_step < span.first)
    found: int | None = connection.scalar(query.order_by(u.seq.desc()).limit(1))
    return found or 0


def _records(columns: Columns, names: Sequence[str], span: Span) -> Spread:
    """One piece per record within the span."""
    step = columns["step"]
    kept = np.flatnonzero((step >= span.first) & (step <= span.last))
    values = {name: columns[name][kept] for name in names}
    return Spread(np.ones(kept.size, np.int64), step[kept], values, values, values)


def _from_chunks(connection: sa.Connection, asked: Asked, span: Span) -> dict[int, list[Spread]]:
    """Layers with enough chunks by their summaries, where they stand alone in the span; the others record by record."""
    c = t.chunks.c
    own = sa.and_(
        c.run_id == asked.run_id, c.layer_id.in_(asked.layer_ids), c.session == span.session, c.rank == 0,
        c.last_step >= span.first, c.first_step <= span.last,
    )  # fmt: skip
    if asked.points is None:
        return _whole(connection, own, asked.names, span)
    query = sa.select(c.layer_id, sa.func.count(), sa.func.min(c.first_step), sa.func.max(c.last_step))
    counted = connection.execute(query.where(own, c.statistic == "step").group_by(c.layer_id)).all()
    many = [row for row in counted if 2 * row[1] >= asked.points]
    inside = sa.and_(c.first_step >= span.first, c.last_step <= span.last)
    found: dict[int, list[Spread]] = {}
    for layer_id, _, first, last in many:
        of_layer = sa.and_(own, c.layer_id == layer_id)
        shared = _shared(connection, asked.run_id, layer_id, span) if span.disordered else []
        alone = sa.and_(inside, c.seq.not_in(shared))
        found[layer_id] = _summaries(connection, sa.and_(of_layer, alone), asked.names)
        if first < span.first or last > span.last or shared:
            found[layer_id] += _whole(connection, sa.and_(of_layer, ~alone), asked.names, span).get(layer_id, [])
    if len(many) < len(counted):
        few = sa.and_(own, c.layer_id.not_in(list(found)))
        found |= _whole(connection, few, asked.names, span)
    return found


def _shared(connection: sa.Connection, run_id: str, layer_id: int, span: Span) -> list[int]:
    """Chunks of a layer whose steps meet those of another chunk or segment: their summaries may count hidden ones."""
    ranges = []
    for table, kind in ((t.chunks, t.chunks.c.statistic == "step"), (t.segments, sa.true())):
        c = table.c
        own = (c.run_id == run_id, c.layer_id == layer_id, c.session == span.session, c.rank == 0, kind)
        rows = connection.execute(sa.select(c.seq, c.first_step, c.last_step).where(*own)).all()
        ranges.append(np.array([tuple(row) for row in rows], np.int64).reshape(-1, 3))
    seq, first, last = np.concatenate(ranges).T
    order = np.argsort(first, kind="stable")
    met = np.zeros(order.size, bool)
    met[1:] = first[order][1:] <= np.maximum.accumulate(last[order])[:-1]
    met[:-1] |= last[order][:-1] >= first[order][1:]
    return sorted(set(seq[order[met]].tolist()) & set(ranges[0][:, 0].tolist()))


def _summaries(connection: sa.Connection, chosen: sa.ColumnElement[bool], names: Sequence[str]) -> list[Spread]:
    """Whole chunks of one layer, a piece each."""
    c = t.chunks.c
    query = sa.select(c.seq, c.last_step, c.records, c.least, c.greatest, c.latest).where(chosen).order_by(c.seq)
    tables = {name: _table(connection, query.where(c.statistic == name)) for name in names}
    places = next(iter(tables.values()), np.zeros((6, 0)))
    if not places.size or any(not np.array_equal(one[0], places[0]) for one in tables.values()):
        places = _table(connection, query.where(c.statistic == "step"))
        tables = {name: _beside(one, places) for name, one in tables.items()}
    if not places.size:
        return []
    summaries = ({name: values[row] for name, values in tables.items()} for row in (3, 4, 5))
    return [Spread(places[2].astype(np.int64), places[1], *summaries)]


def _table(connection: sa.Connection, query: sa.Select[Any]) -> Array:
    """The columns of a query as rows of numbers, NaN for null: shape (columns, rows)."""
    rows = connection.execute(query).all()
    return np.array([tuple(row) for row in rows], np.float64).reshape(-1, len(query.selected_columns)).T


def _beside(known: Array, places: Array) -> Array:
    """Summaries put beside the chunks they belong to; NaN where a chunk knows nothing of the statistic."""
    whole = np.full(places.shape, np.nan)
    whole[:, np.isin(places[0], known[0])] = known
    return whole


def _whole(
    connection: sa.Connection, chosen: sa.ColumnElement[bool], names: Sequence[str], span: Span
) -> dict[int, list[Spread]]:
    """Chunks record by record."""
    c = t.chunks.c
    query = sa.select(c.layer_id, c.seq, c.statistic, c.records, c.latest, c.data).where(chosen)
    chunks: dict[tuple[int, int], Columns] = defaultdict(dict)
    for row in connection.execute(query.where(c.statistic.in_(["step", *names]))):
        own = chunks[row.layer_id, row.seq]
        own[row.statistic] = encoding.decode_chunk(row.statistic, row.data, row.latest, row.records)
    found: dict[int, list[Spread]] = defaultdict(list)
    for (layer_id, _seq), columns in sorted(chunks.items(), key=lambda chunk: chunk[0]):
        nothing = np.full(columns["step"].size, np.nan)
        found[layer_id].append(
            _records({"step": columns["step"]} | {n: columns.get(n, nothing) for n in names}, names, span)
        )
    return found


def _joined(pieces: Sequence[Spread]) -> Spread:
    """Pieces one after the other."""
    if len(pieces) == 1:
        return pieces[0]

    def all_of(columns: Sequence[Columns]) -> Columns:
        return {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}

    weight, step, *columns = zip(*pieces, strict=True)
    return Spread(np.concatenate(weight), np.concatenate(step), *(all_of(one) for one in columns))


def _in_order(whole: Spread, names: Sequence[str]) -> Spread:
    """The pieces of one session by step. Where seqs are known a step may come twice: the highest is shown."""
    if "seq" in whole.latest:
        order = np.lexsort((whole.latest["seq"], whole.step))
        return _taken(whole, order[encoding.shown(whole.step[order])], names)
    if bool((np.diff(whole.step) > 0).all()):
        return whole
    return _taken(whole, np.argsort(whole.step, kind="stable"), names)


def _taken(whole: Spread, places: Array, names: Sequence[str]) -> Spread:
    """These pieces and statistics."""
    columns = ({name: values[name][places] for name in names} for values in whole[2:])
    return Spread(whole.weight[places], whole.step[places], *columns)
