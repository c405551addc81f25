"""Series of records: scalars as one row per layer and upload, unit columns as rows of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import sqlalchemy as sa

from relumine.views import LayerState
from relumine.table import RECORD_SCALARS, Row
from relumine.wire import Column, LayerInfo, Record, Upload
from relumine_server.detection.findings import Reading
from relumine_server.storage import packing, runs
from relumine_server.storage import tables as t
from relumine_server.storage.packing import Array

SCALARS = ("first_step", "step", "since_step", *RECORD_SCALARS)
STATES = get_args(LayerState)
READING_NUMBERS = tuple(field.name for field in fields(Reading) if field.name not in ("layer_id", "step", "state"))


def append(connection: sa.Connection, upload: Upload, readings: Iterable[Reading]) -> None:
    """Store the records of an upload, with what the detector measured of them."""
    placed: dict[int, list[tuple[int, Row]]] = defaultdict(list)
    for position, record in enumerate(upload.records):
        placed[record.layer_id].append((position, record))
    measured: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        measured[reading.layer_id].append(reading)
    key = {"run_id": upload.run.id, "session": upload.session, "rank": upload.rank, "seq": upload.seq}
    segments = [
        {**key, "layer_id": layer_id, **_segment(own), "readings": _pack_readings(measured.get(layer_id))}
        for layer_id, own in placed.items()
    ]
    rows = [
        {**key, "layer_id": r.layer_id, "step": r.step, "position": position, "columns": _pack_units(r)}
        for position, r in enumerate(upload.records)
        if r.arrays()
    ]
    if segments:
        connection.execute(sa.insert(t.segments), segments)
    if rows:
        connection.execute(sa.insert(t.unit_rows), rows)


def _segment(placed: Sequence[tuple[int, Row]]) -> dict[str, Any]:
    records = [record for _, record in placed]
    columns = {name: [getattr(record, name) for record in records] for name in SCALARS}
    kept = {
        name: packing.numbers(values) for name, values in columns.items() if any(value is not None for value in values)
    }
    kept["position"] = packing.numbers([position for position, _ in placed])
    rates = [record.learning_rates for record in records]
    header = {"learning_rates": rates} if any(rates) else {}
    return {
        "first_step": min(record.first_step for record in records),
        "last_step": max(record.step for record in records),
        "records": len(records),
        "columns": packing.pack(header, kept),
    }


def _pack_readings(readings: Sequence[Reading] | None) -> bytes | None:
    if not readings:
        return None
    columns = {name: packing.numbers([getattr(r, name) for r in readings]) for name in ("step", *READING_NUMBERS)}
    columns["state"] = packing.numbers([STATES.index(r.state) for r in readings])
    return packing.pack({}, columns)


def _pack_units(record: Row) -> bytes:
    header = {"first_step": record.first_step, "n_examples": record.n_examples, "n_positions": record.n_positions}
    return packing.pack(header, record.arrays())


def load_series(
    connection: sa.Connection, run_id: str, layer_id: int | None, *, from_step: int, to_step: int
) -> dict[int, dict[str, Array]]:
    """Scalar and reading columns by layer, ordered by step; at a step seen twice the newest session wins."""
    c = t.segments.c
    query = (
        sa.select(c.layer_id, c.session, c.columns, c.readings)
        .where(c.run_id == run_id, c.rank == 0, c.last_step >= from_step, c.first_step <= to_step)
        .order_by(c.layer_id, c.session, c.seq)
    )
    if layer_id is not None:
        query = query.where(c.layer_id == layer_id)
    parts: dict[int, list[dict[str, Array]]] = defaultdict(list)
    for row in connection.execute(query):
        parts[row.layer_id].append(_part(row))
    return {layer: _joined(chunks, from_step, to_step) for layer, chunks in parts.items()}


def _part(row: sa.Row[*tuple[Any, ...]]) -> dict[str, Array]:
    _, columns = packing.unpack(row.columns)
    if row.readings is None:
        return columns
    _, readings = packing.unpack(row.readings)
    same = readings["step"].size == columns["step"].size and bool((readings["step"] == columns["step"]).all())
    if not same:
        return columns
    return {**columns, **{name: values for name, values in readings.items() if name != "step"}}


def _joined(parts: Sequence[dict[str, Array]], from_step: int, to_step: int) -> dict[str, Array]:
    """Chunks one after the other, later sessions over earlier ones, in the order of steps."""
    names = dict.fromkeys(name for part in parts for name in part)
    whole = {
        name: np.concatenate([part.get(name, np.full(part["step"].size, np.nan)) for part in parts]) for name in names
    }
    backwards = whole["step"][::-1]
    _, first = np.unique(backwards, return_index=True)
    order = backwards.size - 1 - first
    order = order[(whole["step"][order] >= from_step) & (whole["step"][order] <= to_step)]
    return {name: values[order] for name, values in whole.items()}


def load_units(
    connection: sa.Connection, run_id: str, layer_id: int, step: int | None
) -> tuple[int, dict[str, Any], dict[str, Array]] | None:
    """Per-unit columns of the record at or before ``step`` (of the latest without one): step, header, columns."""
    c = t.unit_rows.c
    query = sa.select(c.step, c.columns).where(c.run_id == run_id, c.layer_id == layer_id, c.rank == 0)
    if step is not None:
        query = query.where(c.step <= step)
    row = connection.execute(query.order_by(c.step.desc(), c.session.desc(), c.seq.desc()).limit(1)).first()
    if row is None:
        return None
    header, columns = packing.unpack(row.columns)
    return row.step, header, columns


def load_records(connection: sa.Connection, run_id: str) -> tuple[list[LayerInfo], list[Record]]:
    """Everything that was folded, in series order, exactly as it came: what a replay folds again."""
    u, c, r = t.uploads.c, t.segments.c, t.unit_rows.c
    folded = sa.select(u.session, u.seq).where(u.run_id == run_id, u.rank == 0, u.folded).order_by(u.session, u.seq)
    keys = [(row.session, row.seq) for row in connection.execute(folded)]
    found: dict[tuple[str, int], list[tuple[int, Record]]] = {key: [] for key in keys}
    rows = sa.select(r.layer_id, r.session, r.seq, r.step, r.columns).where(r.run_id == run_id, r.rank == 0)
    units = {(row.layer_id, row.session, row.seq, row.step): row.columns for row in connection.execute(rows)}
    query = sa.select(c.layer_id, c.session, c.seq, c.columns).where(c.run_id == run_id, c.rank == 0)
    for row in connection.execute(query):
        if (row.session, row.seq) in found:
            found[row.session, row.seq] += _records(row, units)
    in_order = [record for key in keys for _, record in sorted(found[key], key=lambda placed: placed[0])]
    return runs.load_layers(connection, run_id), in_order


def _records(row: sa.Row[*tuple[Any, ...]], units: dict[Any, bytes]) -> list[tuple[int, Record]]:
    header, columns = packing.unpack(row.columns)
    rates = header.get("learning_rates")
    out = []
    for i, position in enumerate(columns["position"]):
        values = {name: _value(name, column[i]) for name, column in columns.items() if name != "position"}
        if rates is not None:
            values["learning_rates"] = rates[i]
        blob = units.get((row.layer_id, row.session, row.seq, values["step"]))
        arrays = packing.unpack(blob)[1] if blob is not None else {}
        packed = {name: Column.pack(array) for name, array in arrays.items()}
        record = Record(layer_id=row.layer_id, **{k: v for k, v in values.items() if v is not None}, **packed)
        out.append((int(position), record))
    return out


def _value(name: str, number: float) -> float | int | None:
    if np.isnan(number):
        return None
    whole = name in ("first_step", "step", "since_step", "sampled_steps", "n_examples", "n_positions", "nonfinite")
    return int(number) if whole else float(number)
