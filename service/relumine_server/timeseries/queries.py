"""Queries for series: chunks and segments of the sessions that are shown, ordered by step.

Where more records are stored than points asked for, whole chunks are answered from their summaries and their data is
not read. If several uploads of a session hold a step, the one with the highest seq is shown, however it is stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import Array
from relumine_server.db import tables
from relumine_server.timeseries import codec, damage, sessions
from relumine_server.timeseries.damage import DecodableSegments
from relumine_server.timeseries.downsampling import Downsampled, SeriesColumns
from relumine_server.timeseries.sessions import SessionSpan

LAYER_ID = "layer_id"

MANY_LAYERS = 200
"""Layers from which on all between the first and the last are read: a parameter each would cost more."""

_LayerPieces = dict[int, list[Downsampled]]


class _SeriesQuery(NamedTuple):
    """Statistics of layers of a run, in about ``points`` points; every record without it."""

    run_id: str
    layer_ids: Sequence[int]
    names: Sequence[str]
    points: int | None


def read_series(
    connection: sa.Connection, run_id: str, layer_ids: Sequence[int], names: Sequence[str], *, steps: tuple[int, int]
) -> dict[int, SeriesColumns]:
    """Return the statistics of every record between two steps, and its ``step``, by layer."""
    by_layer = read_extremes(connection, run_id, layer_ids, names, steps=steps, points=None)
    return {layer_id: {**series.last, "step": series.step} for layer_id, series in by_layer.items()}


def read_extremes(
    connection: sa.Connection,
    run_id: str,
    layer_ids: Sequence[int],
    names: Sequence[str],
    *,
    steps: tuple[int, int],
    points: int | None,
) -> dict[int, Downsampled]:
    """Return series between two steps, by layer, fine enough for ``points`` points; every record without it.

    Layers without records are left out.
    """
    pieces: _LayerPieces = defaultdict(list)
    for span in sessions.load_spans(connection, run_id).clipped(*steps).spans:
        needed = [*names, "seq"] if span.out_of_order else names
        query = _SeriesQuery(run_id, layer_ids, needed, points)
        older = _read_chunks(connection, query, span)
        newer, is_sorted = _read_segments(connection, query, span)
        for layer_id in layer_ids:
            of_span = [*older.get(layer_id, []), *newer.get(layer_id, [])]
            if not of_span:
                continue
            if is_sorted and not span.out_of_order and layer_id not in older:
                pieces[layer_id] += of_span
            else:
                pieces[layer_id].append(_sorted_by_step(_concatenated(of_span), names))
    return {layer_id: _concatenated(of_layer) for layer_id, of_layer in pieces.items()}


def _is_of_layers(c: Any, query: _SeriesQuery) -> sa.ColumnElement[bool]:
    """Return the condition for rows of the layers of a query, and perhaps of some in between."""
    if len(query.layer_ids) < MANY_LAYERS:
        return c.layer_id.in_(query.layer_ids)  # type: ignore[no-any-return]
    return c.layer_id.between(min(query.layer_ids), max(query.layer_ids))  # type: ignore[no-any-return]


def _read_segments(connection: sa.Connection, query: _SeriesQuery, span: SessionSpan) -> tuple[_LayerPieces, bool]:
    """Return segments with a point per record, and whether those of every layer are ordered by step, each step once."""
    c = tables.segments.c
    statement = (
        sa.select(c.layer_id, c.seq, c.record_count, c.data, c.readings)
        .where(c.run_id == query.run_id, _is_of_layers(c, query), c.session == span.session, c.rank == 0)
        .where(c.last_step >= span.first_step, c.first_step <= span.last_step)
        .order_by(c.layer_id, c.seq)
    )
    if span.first_step > span.began_at_step and not span.out_of_order:
        statement = statement.where(c.seq > _last_seq_before(connection, query.run_id, span))
    decodable = damage.decodable_segments(query.run_id, connection.execute(statement).all())
    if not decodable.rows:
        return {}, True
    points = _points_in_span(_decode_segments(decodable, query.names), [*query.names, LAYER_ID], span)
    layer_ids = points.last[LAYER_ID]
    starts = np.flatnonzero(np.diff(layer_ids, prepend=-1)).tolist()
    pieces = {}
    for start, end in pairwise([*starts, layer_ids.size]):
        pieces[int(layer_ids[start])] = [_between(points, query.names, start, end)]
    return pieces, bool(((np.diff(points.step) > 0) | (np.diff(layer_ids) != 0)).all())


def _between(points: Downsampled, names: Sequence[str], start: int, end: int) -> Downsampled:
    """Return some of the points, each of one record."""
    values = {name: points.last[name][start:end] for name in names}
    return Downsampled(points.weight[start:end], points.step[start:end], min=values, max=values, last=values)


def _decode_segments(decodable: DecodableSegments, names: Sequence[str]) -> SeriesColumns:
    """Decode segments one after the other, all layers at once."""
    segments = decodable.segments
    columns = codec.decode(segments, ("step", *names))
    counts = [record_count for record_count, _, _ in segments]
    columns[LAYER_ID] = np.repeat(np.array(codec.column_of(decodable.rows, LAYER_ID), np.float64), counts)
    if "seq" in names:
        columns["seq"] = np.repeat(np.array(codec.column_of(decodable.rows, "seq"), np.float64), counts)
    return columns


def _last_seq_before(connection: sa.Connection, run_id: str, span: SessionSpan) -> int:
    """Return the seq of the last upload of a session that lies wholly before the span: nothing up to it is read."""
    u = tables.uploads.c
    of_session = (u.run_id == run_id, u.session == span.session, u.rank == 0, u.last_step < span.first_step)
    seq: int | None = connection.scalar(sa.select(u.seq).where(*of_session).order_by(u.seq.desc()).limit(1))
    return seq or 0


def _points_in_span(columns: SeriesColumns, names: Sequence[str], span: SessionSpan) -> Downsampled:
    """Return one point per record within the span."""
    step = columns["step"]
    indices = np.flatnonzero((step >= span.first_step) & (step <= span.last_step))
    values = {name: columns[name][indices] for name in names}
    return Downsampled(np.ones(indices.size, np.int64), step[indices], min=values, max=values, last=values)


def _read_chunks(connection: sa.Connection, query: _SeriesQuery, span: SessionSpan) -> _LayerPieces:
    """Read layers with many chunks by the summaries of those wholly in the span, everything else by record."""
    c = tables.chunks.c
    in_span = sa.and_(
        c.run_id == query.run_id, _is_of_layers(c, query), c.session == span.session, c.rank == 0,
        c.last_step >= span.first_step, c.first_step <= span.last_step,
    )  # fmt: skip
    if query.points is None:
        return _read_chunk_records(connection, query, in_span, span)
    counts = sa.select(c.layer_id, sa.func.count().label("chunks"), sa.func.min(c.first_step), sa.func.max(c.last_step))
    layers = connection.execute(counts.where(in_span, c.statistic == "step").group_by(c.layer_id)).all()
    pieces: _LayerPieces = {}
    for layer_id, chunks, first_step, last_step in layers:
        if 2 * chunks < query.points:
            continue
        of_layer = sa.and_(in_span, c.layer_id == layer_id)
        overlapping = _overlapping_chunks(connection, query.run_id, layer_id, span) if span.out_of_order else []
        is_inside = sa.and_(c.first_step >= span.first_step, c.last_step <= span.last_step)
        is_summary_true = sa.and_(is_inside, c.seq.not_in(overlapping))
        pieces[layer_id] = _read_summaries(connection, sa.and_(of_layer, is_summary_true), query.names)
        if first_step < span.first_step or last_step > span.last_step or overlapping:
            others = _read_chunk_records(connection, query, sa.and_(of_layer, ~is_summary_true), span)
            pieces[layer_id] += others.get(layer_id, [])
    if len(pieces) < len(layers):
        with_few_chunks = sa.and_(in_span, c.layer_id.not_in(list(pieces)))
        pieces |= _read_chunk_records(connection, query, with_few_chunks, span)
    return pieces


def _overlapping_chunks(connection: sa.Connection, run_id: str, layer_id: int, span: SessionSpan) -> list[int]:
    """Return the seqs of chunks whose steps overlap those of another chunk or segment of the layer.

    Their summaries may count records that are not shown.
    """
    chunks = _step_ranges(connection, tables.chunks, run_id, layer_id, span)
    segments = _step_ranges(connection, tables.segments, run_id, layer_id, span)
    seq, first_step, last_step = np.concatenate([chunks, segments]).T
    order = np.argsort(first_step, kind="stable")
    overlaps_previous = first_step[order][1:] <= np.maximum.accumulate(last_step[order])[:-1]
    overlaps_next = last_step[order][:-1] >= first_step[order][1:]
    overlaps = np.zeros(order.size, bool)
    overlaps[1:] = overlaps_previous
    overlaps[:-1] |= overlaps_next
    return sorted(set(seq[order[overlaps]].tolist()) & set(chunks[:, 0].tolist()))


def _step_ranges(connection: sa.Connection, table: sa.Table, run_id: str, layer_id: int, span: SessionSpan) -> Array:
    """Return seq, first and last step of every chunk or segment of a layer in a session, shape (n, 3)."""
    c = table.c
    of_layer = [c.run_id == run_id, c.layer_id == layer_id, c.session == span.session, c.rank == 0]
    if table is tables.chunks:
        of_layer.append(c.statistic == "step")  # one row of each chunk
    rows = connection.execute(sa.select(c.seq, c.first_step, c.last_step).where(*of_layer)).all()
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, 3)


def _read_summaries(
    connection: sa.Connection, is_chosen: sa.ColumnElement[bool], names: Sequence[str]
) -> list[Downsampled]:
    """Return whole chunks of one layer, a point each."""
    c = tables.chunks.c
    statement = sa.select(c.seq, c.last_step, c.record_count, c.min, c.max, c.last).where(is_chosen).order_by(c.seq)
    by_name = {name: _read_matrix(connection, statement.where(c.statistic == name)) for name in names}
    chunks = next(iter(by_name.values()), np.zeros((6, 0)))
    if not chunks.size or any(not np.array_equal(rows[0], chunks[0]) for rows in by_name.values()):
        chunks = _read_matrix(connection, statement.where(c.statistic == "step"))  # every chunk has it
        by_name = {name: _aligned(rows, chunks) for name, rows in by_name.items()}
    if not chunks.size:
        return []
    return [
        Downsampled(
            weight=chunks[2].astype(np.int64),
            step=chunks[1],
            min={name: rows[3] for name, rows in by_name.items()},
            max={name: rows[4] for name, rows in by_name.items()},
            last={name: rows[5] for name, rows in by_name.items()},
        )
    ]


def _read_matrix(connection: sa.Connection, statement: sa.Select[Any]) -> Array:
    """Return the columns of a query as rows of numbers, NaN for null: shape (columns, rows)."""
    rows = connection.execute(statement).all()
    return np.array([tuple(row) for row in rows], np.float64).reshape(-1, len(statement.selected_columns)).T


def _aligned(rows: Array, chunks: Array) -> Array:
    """Return the summaries of a statistic in the order of chunks; NaN for a chunk without the statistic."""
    aligned = np.full(chunks.shape, np.nan)
    aligned[:, np.isin(chunks[0], rows[0])] = rows
    return aligned


def _read_chunk_records(
    connection: sa.Connection, query: _SeriesQuery, is_chosen: sa.ColumnElement[bool], span: SessionSpan
) -> _LayerPieces:
    """Return chunks with a point per record."""
    names = query.names
    c = tables.chunks.c
    statement = sa.select(c.layer_id, c.seq, c.statistic, c.record_count, c.last, c.data)
    statement = statement.where(is_chosen, c.statistic.in_(["step", *names]))
    chunks: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for row in connection.execute(statement):
        chunks[row.layer_id, row.seq].append(row)
    pieces: _LayerPieces = defaultdict(list)
    for layer_id, seq in sorted(chunks):
        columns = damage.chunk_columns(query.run_id, chunks[layer_id, seq], layer_id=layer_id, seq=seq)
        if not columns:
            continue
        missing = np.full(columns["step"].size, np.nan)
        complete = {name: columns.get(name, missing) for name in names}
        pieces[layer_id].append(_points_in_span({**complete, "step": columns["step"]}, names, span))
    return pieces


def _concatenated(pieces: Sequence[Downsampled]) -> Downsampled:
    """Return pieces one after the other."""
    if len(pieces) == 1:
        return pieces[0]

    def join(columns: Sequence[SeriesColumns]) -> SeriesColumns:
        return {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}

    return Downsampled(
        weight=np.concatenate([piece.weight for piece in pieces]),
        step=np.concatenate([piece.step for piece in pieces]),
        min=join([piece.min for piece in pieces]),
        max=join([piece.max for piece in pieces]),
        last=join([piece.last for piece in pieces]),
    )


def _sorted_by_step(series: Downsampled, names: Sequence[str]) -> Downsampled:
    """Return the points of one session by step. Where seqs are known a step may occur twice: the highest is shown."""
    if "seq" in series.last:
        order = np.lexsort((series.last["seq"], series.step))
        return _selected(series, order[codec.latest_per_step(series.step[order])], names)
    if bool((np.diff(series.step) > 0).all()):
        return series
    return _selected(series, np.argsort(series.step, kind="stable"), names)


def _selected(series: Downsampled, indices: Array, names: Sequence[str]) -> Downsampled:
    """Return these points and statistics."""
    return Downsampled(
        weight=series.weight[indices],
        step=series.step[indices],
        min={name: series.min[name][indices] for name in names},
        max={name: series.max[name][indices] for name in names},
        last={name: series.last[name][indices] for name in names},
    )
