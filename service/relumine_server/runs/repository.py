"""Rows of runs, their projects, uploads and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql

from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.db import keyset, tables
from relumine_server.db.dialect import insert, plain_insert, sqlite_time
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.errors import Busy, RunNotFound
from relumine_server.runs.rows import LockedRun, RunRow

CHILDREN = {
    tables.unit_stats: 16,
    tables.chunks: 2_000,
    tables.segments: 2_000,
    tables.logged_metrics: 2_000,
    tables.uploads: 10_000,
    tables.run_sessions: 10_000,
    tables.layers: 10_000,
    tables.detector_states: 1,
    tables.alert_events: 10_000,
    tables.alerts: 10_000,
}
"""Tables whose keys begin with a run, and how many rows of each one transaction deletes."""

LATEST_START = 4e9  # seconds since 1970; what a client sends beyond it could not be stored

_r = tables.runs.c
_RUN_ID = sa.bindparam("run", type_=sa.Text)
_SELECT = sa.select(*(_r[field.name] for field in fields(RunRow)))

# Alerts are matched by the bound id, not by the row of the run: Citus must see that one run alone is asked for.
_OPEN_ALERT = (tables.alerts.c.run_id == _RUN_ID, tables.alert_is_open)
_STALLED_ALERT = (*_OPEN_ALERT, tables.alerts.c.layer_id == 0, tables.alerts.c.kind == "stalled")
_DERIVED = {
    "has_open_alerts": sa.exists().where(*_OPEN_ALERT),
    "has_open_stalled_alert": sa.exists().where(*_STALLED_ALERT),
}
_LOCKED_NAMES = [field.name for field in fields(LockedRun)]
_LOCKED_COLUMNS = [_DERIVED[name].label(name) if name in _DERIVED else _r[name] for name in _LOCKED_NAMES]
_SELECT_LOCKED = sa.select(*_LOCKED_COLUMNS).where(_r.run_id == _RUN_ID, run_is_visible).with_for_update()


def lock(connection: sa.Connection, run_id: str) -> LockedRun | None:
    """Lock the row of a run for this transaction, and return it; None if there is no such run."""
    row = connection.execute(_SELECT_LOCKED, {"run": run_id}).first()
    return None if row is None else LockedRun(*row)


def lock_or_create(
    connection: sa.Connection, info: RunInfo, now: datetime, admit: Callable[[sa.Connection, str, datetime], None]
) -> LockedRun:
    """Lock the row of a run for this transaction, and return it; create the run, and its project, if it is new.

    Raises Busy while a run of this id is being deleted: afterwards the upload begins a new one.

    ``admit`` is called before a run is created and may refuse it: whatever it raises is raised here.
    """
    run = lock(connection, info.id)
    if run is not None:
        return run
    admit(connection, info.project, now)
    project = insert(connection, tables.projects).values(project=info.project, created_at=now)
    connection.execute(project.on_conflict_do_nothing())
    connection.execute(insert(connection, tables.runs).values(_new_run(info, now)).on_conflict_do_nothing())
    row = connection.execute(_SELECT_LOCKED, {"run": info.id}).first()
    if row is None:
        raise Busy("a run of this id is being deleted; try again shortly")
    return LockedRun(*row)


def _new_run(info: RunInfo, now: datetime) -> dict[str, Any]:
    started_at = None
    if info.started_at is not None:
        started_at = datetime.fromtimestamp(min(info.started_at, LATEST_START), UTC)
    return {
        "run_id": info.id,
        "project": info.project,
        "group_name": info.group,
        "name": info.name,
        "config": info.config,
        "tags": info.tags,
        "sdk": info.sdk,
        "torch": info.torch,
        "status": "running",
        "started_at": started_at,
        "created_at": now,
        "updated_at": now,
        "dropped": {},
    }


def lock_detector_position(connection: sa.Connection, run_id: str) -> tuple[str, int] | None:
    """Lock the row of a run; returns session and seq of its last processed upload, None if there is none."""
    query = sa.select(_r.detector_session, _r.detector_seq).where(_r.run_id == run_id).with_for_update()
    row = connection.execute(query).first()
    return None if row is None or row.detector_session is None else (row.detector_session, row.detector_seq)


_UPLOAD_COLUMNS = tuple(column.name for column in tables.uploads.columns)
_CLAIM = postgresql.insert(tables.uploads).on_conflict_do_nothing().returning(tables.uploads.c.seq)


def claim_upload(connection: sa.Connection, upload: Upload, *, late: bool, processed: bool, now: datetime) -> bool:
    """Insert the row of an upload. Returns False for a duplicate, whose row is there already."""
    last_step = int(upload.records.scalars["step"].max()) if len(upload.records) else None
    key = (upload.run.id, upload.session, upload.rank, upload.seq)
    rest = (len(upload.records), last_step, late, processed)
    if connection.dialect.name == "sqlite":
        statement = f"{plain_insert(tables.uploads, _UPLOAD_COLUMNS)} ON CONFLICT DO NOTHING"
        return connection.exec_driver_sql(statement, (*key, sqlite_time(now), *rest)).rowcount > 0
    row = dict(zip(_UPLOAD_COLUMNS, (*key, now, *rest), strict=True))
    return connection.execute(_CLAIM, row).first() is not None


def update(connection: sa.Connection, run_id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a run."""
    new_values = {f"new_{name}": value for name, value in values.items()}
    connection.execute(_update_statement(tuple(values)), {"run": run_id, **new_values})


@lru_cache(maxsize=256)
def _update_statement(names: tuple[str, ...]) -> sa.Update:
    """Return the statement that sets these columns; building it costs more than SQLite takes to execute it."""
    new = {name: sa.bindparam(f"new_{name}", type_=_r[name].type) for name in names}
    return sa.update(tables.runs).where(_r.run_id == sa.bindparam("run")).values(new)


def save_layers(connection: sa.Connection, run_id: str, layers: Sequence[LayerInfo]) -> None:
    """Insert layers, or update their description. Of several descriptions of a layer the last one counts."""
    if not layers:
        return
    by_id = {layer.layer_id: layer for layer in layers}
    rows = [
        {
            "run_id": run_id,
            "layer_id": layer.layer_id,
            "name": layer.name,
            "units": layer.units,
            "info": layer.model_dump(),
        }
        for layer in by_id.values()
    ]
    statement = insert(connection, tables.layers)
    new = {name: statement.excluded[name] for name in ("name", "units", "info")}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "layer_id"], set_=new), rows)


def load_layers(connection: sa.Connection, run_id: str) -> list[LayerInfo]:
    """Return the layers of a run in the order of their ids."""
    c = tables.layers.c
    query = sa.select(c.layer_id, c.name, c.units, c.info).where(c.run_id == run_id).order_by(c.layer_id)
    return [_layer_info(row) for row in connection.execute(query)]


def _layer_info(row: Any) -> LayerInfo:
    """Return the description of a layer; where it is damaged, what other columns know of it."""
    try:
        return LayerInfo.model_validate(row.info)
    except ValidationError:
        return LayerInfo(layer_id=row.layer_id, name=row.name, units=row.units)


def find(connection: sa.Connection, run_id: str) -> RunRow | None:
    """Return a run; None if there is no such run."""
    row = connection.execute(_SELECT.where(_r.run_id == run_id, run_is_visible)).first()
    return None if row is None else RunRow(*row)


def get(connection: sa.Connection, run_id: str) -> RunRow:
    """Return a run. Raises RunNotFound."""
    run = find(connection, run_id)
    if run is None:
        raise RunNotFound
    return run


def select_page(
    connection: sa.Connection, filters: Mapping[str, str | None], position: Sequence[Any] | None, limit: int
) -> list[RunRow]:
    """Return a page of runs, newest first, and one more; ``position`` is (created_at, run_id)."""
    query = keyset.page(_SELECT.where(run_is_visible), (_r.created_at, _r.run_id), position, limit, descending=True)
    for name, column in (("project", _r.project), ("group", _r.group_name), ("status", _r.status)):
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    return [RunRow(*row) for row in connection.execute(query)]


def mark_deleted(connection: sa.Connection, run_id: str, now: datetime) -> bool:
    """Hide a run whose deletion begins; False if there is no such run. What follows may be interrupted at any point."""
    is_run = sa.and_(_r.run_id == run_id, run_is_visible)
    return connection.execute(sa.update(tables.runs).where(is_run).values(deleted_at=now)).rowcount == 1


def marked_deleted(connection: sa.Connection) -> list[str]:
    """Return the runs whose deletion has begun and not ended."""
    return list(connection.scalars(sa.select(_r.run_id).where(~run_is_visible)))


def delete_row(connection: sa.Connection, run_id: str) -> None:
    """Delete the row of a run whose children are gone, with its deliveries and its part of the notification log."""
    deliveries = sa.select(tables.deliveries.c.delivery_id).where(tables.deliveries.c.run_id == run_id)
    attempts = tables.delivery_attempts.c.delivery_id.in_(deliveries)
    connection.execute(sa.delete(tables.delivery_attempts).where(attempts))
    for table in (tables.deliveries, tables.notification_log, tables.runs):
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))
