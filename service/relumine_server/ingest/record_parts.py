"""Records that are sent in parts, each with a range of the layer's units: kept until all units are there, then joined.

A client sends a record in parts where it is larger than a proxy takes. What comes after this module sees whole records.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import COLUMN_BITS, Array, RecordTable
from relumine.schemas.upload import Upload
from relumine_server.db import tables
from relumine_server.db.dialect import insert
from relumine_server.errors import InvalidUpload, UnitCountMismatch, UnknownLayer
from relumine_server.timeseries import damage, packing, unit_stats

MAX_UNFINISHED = 16
"""Records of a run that wait for parts. Parts arrive one after the other; beyond it the oldest record is dropped."""

_p = tables.record_parts.c


class _Part(NamedTuple):
    """The columns of a range of units."""

    first_unit: int
    units: int
    columns: dict[str, Array]


def joined(connection: sa.Connection, upload: Upload) -> Upload:
    """Return an upload with the whole record that its part completes, or without it while others are missing.

    An upload without a part is returned as it is. Only reads. Raises UnknownLayer, UnitCountMismatch, InvalidUpload.
    """
    if upload.first_unit is None:
        return upload
    records = upload.records
    units = _units_of_layer(connection, upload)
    arrived = _Part(upload.first_unit, int(records.units[0]), records.arrays(0))
    if arrived.first_unit + arrived.units > units:
        raise UnitCountMismatch(f"layer {records[0].layer_id} has {units} units, a part of a record goes beyond them")
    parts = [arrived]
    if _is_complete(connection, upload, arrived, units):
        parts += _load(connection, upload)
    is_complete = _covers([(part.first_unit, part.units) for part in parts], units)
    complete = _join(records, parts, units) if is_complete else records[:0]
    return upload.model_copy(update={"records": complete, "first_unit": None})


def keep(connection: sa.Connection, upload: Upload, now: datetime) -> None:
    """Store the part of an upload until its record is complete."""
    ((step, _, columns),) = unit_stats.encode_steps(upload.records)
    values = {"units": int(upload.records.units[0]), "received_at": now, "columns": columns}
    key = {"run_id": upload.run.id, "session": upload.session, "rank": upload.rank, "step": step}
    key |= {"layer_id": upload.records[0].layer_id, "first_unit": upload.first_unit}
    statement = insert(connection, tables.record_parts).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
    _drop_oldest(connection, upload.run.id)


def delete(connection: sa.Connection, upload: Upload) -> None:
    """Delete the stored parts of a record that an upload has completed."""
    connection.execute(sa.delete(tables.record_parts).where(*_of_record(upload)))


def _units_of_layer(connection: sa.Connection, upload: Upload) -> int:
    layer_id = upload.records[0].layer_id
    described = [layer.units for layer in upload.layers if layer.layer_id == layer_id]
    if described:
        return described[-1]
    c = tables.layers.c
    query = sa.select(c.units).where(c.run_id == upload.run.id, c.layer_id == layer_id)
    units: int | None = connection.scalar(query)
    if units is None:
        raise UnknownLayer(f"layer {layer_id} was never described")
    return units


def _of_record(upload: Upload) -> tuple[sa.ColumnElement[bool], ...]:
    record = upload.records[0]
    return (
        _p.run_id == upload.run.id,
        _p.session == upload.session,
        _p.rank == upload.rank,
        _p.layer_id == record.layer_id,
        _p.step == record.step,
    )


def _is_complete(connection: sa.Connection, upload: Upload, arrived: _Part, units: int) -> bool:
    """Return whether a part and the stored ones cover all units. Their columns are not read for it."""
    rows = connection.execute(sa.select(_p.first_unit, _p.units).where(*_of_record(upload)))
    return _covers([(arrived.first_unit, arrived.units), *((row.first_unit, row.units) for row in rows)], units)


def _covers(ranges: Sequence[tuple[int, int]], units: int) -> bool:
    reached = 0
    for first_unit, count in sorted(ranges):
        if first_unit > reached:
            return False
        reached = max(reached, first_unit + count)
    return reached >= units


def _load(connection: sa.Connection, upload: Upload) -> list[_Part]:
    """Return the stored parts of a record that can be read."""
    parts = []
    for row in connection.execute(sa.select(_p.first_unit, _p.units, _p.columns).where(*_of_record(upload))):
        try:
            stored = packing.unpack_columns(row.columns)
        except packing.UnreadableError:
            damage.report("record_parts", upload.run.id, session=upload.session, first_unit=row.first_unit)
            continue
        columns = {name: stored[name] for name in COLUMN_BITS if name in stored}
        if all(values.size == row.units for values in columns.values()):
            parts.append(_Part(row.first_unit, row.units, columns))
    return parts


def _join(records: RecordTable, parts: Sequence[_Part], units: int) -> RecordTable:
    """Return the record of a part with the columns of all parts. Raises InvalidUpload where these differ."""
    names = parts[0].columns.keys()
    if any(part.columns.keys() != names for part in parts):
        raise InvalidUpload("the parts of a record have different columns")
    columns = {}
    for name in names:
        values = np.zeros(units, np.result_type(*(part.columns[name].dtype for part in parts)))
        for part in parts:
            values[part.first_unit : part.first_unit + part.units] = part.columns[name]
        columns[name] = values
    scalars = {name: values.copy() for name, values in records.scalars.items()}
    return RecordTable(scalars, np.array([units]), records.present, columns, records.learning_rates)


def _drop_oldest(connection: sa.Connection, run_id: str) -> None:
    """Delete the parts of the records that have waited longest, where a run has many that are not complete."""
    key = (_p.session, _p.rank, _p.layer_id, _p.step)
    unfinished = sa.select(*key).where(_p.run_id == run_id).group_by(*key).order_by(sa.func.max(_p.received_at).desc())
    for row in connection.execute(unfinished.offset(MAX_UNFINISHED)).all():
        of_record = chain((_p.run_id == run_id,), _equal(key, row))
        connection.execute(sa.delete(tables.record_parts).where(*of_record))


def _equal(columns: Sequence[sa.ColumnElement[Any]], values: Sequence[Any]) -> list[sa.ColumnElement[bool]]:
    return [column == value for column, value in zip(columns, values, strict=True)]
