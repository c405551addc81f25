"""The map of a layer: the active rate of each of its units at recorded steps, as bytes.

Records are chosen, evenly over those that are stored, and not averaged: what is shown was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from relumine.schemas.record_table import Array
from relumine_server.db import tables
from relumine_server.timeseries import unit_stats
from relumine_server.timeseries.sessions import SessionSpans

NO_DATA = 255
HIGHEST = 254
"""Bytes of a map: a rate of 1, and no measurement. A rate above 0 is at least 1, so that 0 is never active."""
MAX_CANDIDATES = 4_000
MAX_LAYER_BYTES = 32 * 2**20
"""Records that may be chosen, and bytes of the ids of their layers."""
MAX_BYTES = 256 * 2**20
BATCH_BYTES = 16 * 2**20
"""Bytes of per-unit columns of all layers that one map reads, and that are in memory at once."""

Rates: TypeAlias = npt.NDArray[np.uint8]
Order: TypeAlias = Literal["unit", "last_active"]
_c = tables.unit_stats.c


class UnitMap(NamedTuple):
    """Rates of shape (units, steps), the number of the unit of each row, and the step of each column."""

    unit: Array
    step: Array
    active_rate: Rates


def read(
    connection: sa.Connection, run_id: str, layer: tuple[int, int], spans: SessionSpans, points: int
) -> tuple[Array, Rates]:
    """Return at most ``points`` recorded steps of a layer, and the rates of all its units, shape (units, steps).

    ``layer`` is its id and the number of its units. The first and the last record are among those chosen.
    """
    layer_id, units = layer
    chosen = _chosen(_candidates(connection, run_id, layer_id, spans), points)
    rates = np.full((units, len(chosen)), NO_DATA, np.uint8)
    columns = {(row.step, row.session, row.seq): number for number, row in enumerate(chosen)}
    for row in _rows(connection, run_id, chosen):
        number = columns.get((row.step, row.session, row.seq))
        stats = None if number is None else unit_stats.decode_layer(run_id, row, layer_id)
        if stats is not None and "active" in stats.columns and stats.n_examples:
            active = stats.columns["active"][:units]
            rates[: active.size, number] = _to_bytes(active / stats.n_examples)
    return np.array([row.step for row in chosen], np.int64), rates


def arranged(step: Array, rates: Rates, order: Order, first_unit: int, units: int) -> UnitMap:
    """Return ``units`` rows from ``first_unit`` on, in an order: by number, or by the last step with an activation."""
    numbers = np.arange(rates.shape[0])
    if order == "last_active":
        is_active = (rates > 0) & (rates != NO_DATA)
        last = np.where(is_active, np.arange(1, step.size + 1), 0).max(axis=1, initial=0)
        numbers = np.argsort(last, kind="stable")
    numbers = numbers[first_unit : first_unit + units]
    return UnitMap(numbers, step, rates[numbers])


def _to_bytes(rate: Array) -> Rates:
    scaled = np.clip(np.rint(rate * HIGHEST), 0, HIGHEST)
    visible: Rates = np.where((scaled == 0) & (rate > 0), 1, scaled).astype(np.uint8)
    return visible


def _candidates(connection: sa.Connection, run_id: str, layer_id: int, spans: SessionSpans) -> list[Any]:
    """Return the stored rows with a layer, without their columns, by step; of very many about every n-th."""
    if not spans.spans:
        return []
    in_range = (
        _c.run_id == run_id,
        _c.rank == 0,
        _c.step.between(spans.spans[0].first_step, spans.spans[-1].last_step),
    )
    order = (_c.step, _c.session, _c.seq)
    stored, layer_bytes = connection.execute(
        sa.select(sa.func.count(), sa.select(8 * sa.func.count()).select_from(tables.layers)
                  .where(tables.layers.c.run_id == run_id).scalar_subquery()).where(*in_range)
    ).one()  # fmt: skip
    readable = max(min(MAX_CANDIDATES, MAX_LAYER_BYTES // max(layer_bytes, 1)), 1)
    every = -(-stored // readable) or 1
    number = sa.func.row_number().over(order_by=[column.desc() for column in order])
    numbered = sa.select(*order, (number - 1).label("number")).where(*in_range).subquery()
    is_numbered = sa.and_(*(column == numbered.c[column.name] for column in order))
    query = sa.select(*order, _c.layers, _c.size_bytes).join(numbered, is_numbered)
    query = query.where(*in_range, numbered.c.number % every == 0).order_by(*order)
    rows = {}
    for row in connection.execute(query):
        if spans.includes(row.session, row.step) and (unit_stats.layer_ids(row.layers) == layer_id).any():
            rows[row.step] = row  # of a step that was uploaded twice, the later one
    return list(rows.values())


def _chosen(rows: Sequence[Any], points: int) -> list[Any]:
    """Return some of the rows, evenly spread: as many as were asked for, and as the limit of bytes allows."""
    if not rows:
        return []
    mean_bytes = sum(row.size_bytes for row in rows) / len(rows)
    count = max(1, min(points, len(rows), int(MAX_BYTES // max(mean_bytes, 1))))
    indices = np.rint(np.linspace(len(rows) - 1, 0, count)).astype(int)[::-1]
    return [rows[index] for index in indices]


def _rows(connection: sa.Connection, run_id: str, chosen: Sequence[Any]) -> Iterator[Any]:
    """Yield the rows with their columns, read in batches of a few megabytes."""
    ends = np.cumsum([row.size_bytes for row in chosen]) // BATCH_BYTES
    for batch in np.unique(ends):
        steps = [row.step for row, end in zip(chosen, ends, strict=True) if end == batch]
        query = sa.select(_c.step, _c.session, _c.seq, _c.layers, _c.columns)
        yield from connection.execute(query.where(_c.run_id == run_id, _c.rank == 0, _c.step.in_(steps)))
