"""Rows of runs, their projects, uploads and layers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql

from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.db import sqlite_driver, tables
from relumine_server.db.dialect import insert, plain_insert, sqlite_time
from relumine_server.db.sqlite_driver import PreparedStatement
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.db.types import to_json
from relumine_server.errors import Busy, LayerNotFound, RunNotFound
from relumine_server.runs.rows import LockedRun, RunRow

CHILDREN = {
    tables.unit_stats: 16,
    tables.record_parts: 16,
    tables.chunks: 2_000,
    tables.segments: 2_000,
    tables.logged_metrics: 2_000,
    tables.uploads: 10_000,
    tables.run_sessions: 10_000,
    tables.layers: 10_000,
    tables.detector_states: 1,
    tables.alert_events: 10_000,
    tables.incidents: 10_000,
    tables.alerts: 10_000,
}
"""Tables whose keys begin with a run, and how many rows of each one transaction deletes."""

LATEST_START = 4e9  # seconds since 1970; what a client sends beyond it could not be stored

_r = tables.runs.c
_RUN_ID = sa.bindparam("run", type_=sa.Text)
_SELECT = sa.select(*(_r[field.name] for field in fields(RunRow)))

# Alerts are matched by the bound id, not by the row of the run: Citus must see that one run alone is asked for.
_OF_RUN = tables.alerts.c.run_id == _RUN_ID
_OPEN_ALERT = (_OF_RUN, tables.alert_is_open)
_STALLS = sa.or_(tables.alert_is_open, tables.alerts.c.resolved_by == "person")
_STALLED_ALERT = (_OF_RUN, _STALLS, tables.alerts.c.layer_id == 0, tables.alerts.c.kind == "stalled")
_DERIVED = {
    "has_open_alerts": sa.exists().where(*_OPEN_ALERT),
    "has_stalled_alert": sa.exists().where(*_STALLED_ALERT),
}
_LOCKED_NAMES = [field.name for field in fields(LockedRun)]
_LOCKED_COLUMNS = [_DERIVED[name].label(name) if name in _DERIVED else _r[name] for name in _LOCKED_NAMES]
_SELECT_UNLOCKED = sa.select(*_LOCKED_COLUMNS).where(_r.run_id == _RUN_ID, run_is_visible)
_SELECT_LOCKED = _SELECT_UNLOCKED.with_for_update()
_PREPARED_LOCK = PreparedStatement(_SELECT_UNLOCKED)  # a writer to SQLite has the whole database
_NEW_COLUMNS: dict[str, Any] = dict.fromkeys(_LOCKED_NAMES) | {
    "status": "running", "dropped": {}, "is_shared": False, "uncompacted_records": 0, "longest_gap_s": 0.0,
    "sampled_steps": 0, "layers_dead": 0, "since_layer": 0, "longest_without_layer": 0,
    "unit_stat_rows": 0, "unit_stat_bytes": 0, "has_open_alerts": False, "has_stalled_alert": False,
}  # fmt: skip


def lock(connection: sa.Connection, run_id: str) -> LockedRun | None:
    """Lock the row of a run for this transaction, and return it; None if there is no such run."""
    if connection.dialect.name == "sqlite":
        row: Sequence[Any] | None = _PREPARED_LOCK.first(connection, {"run": run_id})
    else:
        row = connection.execute(_SELECT_LOCKED, {"run": run_id}).first()
    return None if row is None else LockedRun(*row)


def unlocked(connection: sa.Connection, run_id: str) -> LockedRun | None:
    """Return the row of a run without a lock; None if there is no such run."""
    row = connection.execute(_SELECT_UNLOCKED, {"run": run_id}).first()
    return None if row is None else LockedRun(*row)


def peek(connection: sa.Connection, info: RunInfo) -> LockedRun:
    """Return the row of a run without a lock, as it is now; as it will be created, if there is none."""
    run = unlocked(connection, info.id)
    if run is not None:
        return run
    new = _NEW_COLUMNS | {"run_id": info.id, "project": info.project, "group_name": info.group, "name": info.name}
    return LockedRun(**new)


def lock_or_create(
    connection: sa.Connection, info: RunInfo, now: datetime, admit: Callable[[sa.Connection, str, datetime], None]
) -> LockedRun:
    """Lock the row of a run for this transaction, and return it; create the run, and its project, if it is new.

    A run belongs to the project that created it. Where another project has a run of the same id, this project's run is
    kept under an id of its own. ``admit`` is called before a run is created and may refuse it: whatever it raises is
    raised here.

    Raises Busy while a run of this id is being deleted: afterwards the upload begins a new one.
    """
    run = lock(connection, info.id)
    if run is None:
        return _create(connection, info, now, admit)
    if run.project == info.project:
        return run
    # The other project's run is locked, so that two uploads do not both create this project's.
    query = sa.select(_r.run_id).where(_r.project == info.project, _r.sent_id == info.id)
    run_id = connection.scalar(query)
    run = None if run_id is None else lock(connection, run_id)
    return run or _create(connection, info, now, admit, run_id=_id_beside(info.id))


def _id_beside(run_id: str) -> str:
    """Return an id for a run whose own id is taken. It is random, so it cannot be taken in advance."""
    return f"{run_id[:51]}-{secrets.token_hex(6)}"


def _create(
    connection: sa.Connection,
    info: RunInfo,
    now: datetime,
    admit: Callable[[sa.Connection, str, datetime], None],
    run_id: str | None = None,
) -> LockedRun:
    """Create a run, under another id than it was sent with if ``run_id`` is given, and return its locked row."""
    admit(connection, info.project, now)
    project = insert(connection, tables.projects).values(project=info.project, created_at=now)
    connection.execute(project.on_conflict_do_nothing())
    row = _new_run(info, now)
    if run_id is not None:
        row |= {"run_id": run_id, "sent_id": info.id}
    connection.execute(insert(connection, tables.runs).values(row).on_conflict_do_nothing())
    created = connection.execute(_SELECT_LOCKED, {"run": row["run_id"]}).first()
    if created is None:
        raise Busy("a run of this id is being deleted; try again shortly")
    return LockedRun(*created)


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


def dropped_before(connection: sa.Connection, upload: Upload) -> Mapping[str, int]:
    """Return what the process of an upload had dropped until its previous upload, by reason."""
    u = tables.uploads.c
    of_process = (u.run_id == upload.run.id, u.session == upload.session, u.rank == upload.rank, u.seq < upload.seq)
    query = sa.select(u.dropped).where(*of_process).order_by(u.seq.desc()).limit(1)
    return connection.scalar(query) or {}


def claim_upload(connection: sa.Connection, upload: Upload, *, late: bool, processed: bool, now: datetime) -> bool:
    """Insert the row of an upload. Returns False for a duplicate, whose row is there already."""
    last_step = int(upload.records.scalars["step"].max()) if len(upload.records) else None
    key = (upload.run.id, upload.session, upload.rank, upload.seq)
    rest = (len(upload.records), last_step, late, processed)
    if connection.dialect.name == "sqlite":
        dropped = to_json(upload.dropped) if upload.dropped else None
        statement = f"{plain_insert(tables.uploads, _UPLOAD_COLUMNS)} ON CONFLICT DO NOTHING"
        return sqlite_driver.execute(connection, statement, (*key, sqlite_time(now), *rest, dropped)).rowcount > 0
    row = dict(zip(_UPLOAD_COLUMNS, (*key, now, *rest, upload.dropped or None), strict=True))
    return connection.execute(_CLAIM, row).first() is not None


def update(connection: sa.Connection, run_id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a run."""
    new_values = {"run": run_id, **{f"new_{name}": value for name, value in values.items()}}
    if connection.dialect.name == "sqlite":
        _prepared_update(tuple(values)).run(connection, new_values)
    else:
        connection.execute(_update_statement(tuple(values)), new_values)


@lru_cache(maxsize=256)
def _prepared_update(names: tuple[str, ...]) -> PreparedStatement:
    return PreparedStatement(_update_statement(names))


@lru_cache(maxsize=256)
def _update_statement(names: tuple[str, ...]) -> sa.Update:
    """Return the statement that sets these columns; building it costs more than SQLite takes to execute it."""
    new = {name: sa.bindparam(f"new_{name}", type_=_r[name].type) for name in names}
    return sa.update(tables.runs).where(_r.run_id == sa.bindparam("run")).values(new)


def save_layers(connection: sa.Connection, run_id: str, layers: Sequence[LayerInfo], *, replace: bool = True) -> None:
    """Insert layers. Of several descriptions of a layer the last one counts; without ``replace``, the stored one."""
    if not layers:
        return
    by_id = {layer.layer_id: layer for layer in layers}
    rows = [
        {
            "run_id": run_id,
            "layer_id": layer.layer_id,
            "name": layer.name,
            "label": layer.label,
            "units": layer.units,
            "info": layer.model_dump(),
        }
        for layer in by_id.values()
    ]
    statement = insert(connection, tables.layers)
    if not replace:
        connection.execute(statement.on_conflict_do_nothing(), rows)
        return
    new = {name: statement.excluded[name] for name in ("name", "label", "units", "info")}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "layer_id"], set_=new), rows)


def require_layer(connection: sa.Connection, run_id: str, layer_id: int) -> int:
    """Return the number of units of a layer. Raises RunNotFound, LayerNotFound."""
    get(connection, run_id)
    c = tables.layers.c
    units: int | None = connection.scalar(sa.select(c.units).where(c.run_id == run_id, c.layer_id == layer_id))
    if units is None:
        raise LayerNotFound
    return units


def load_layers(connection: sa.Connection, run_id: str) -> list[LayerInfo]:
    """Return the layers of a run in the order of their ids."""
    return [layer_info(row) for row in layer_rows(connection, run_id)]


def layer_rows(connection: sa.Connection, run_id: str) -> Sequence[Any]:
    """Return the rows of the layers of a run in the order of their ids; ``info`` is the description as it was sent."""
    c = tables.layers.c
    query = sa.select(c.layer_id, c.name, c.label, c.units, c.info).where(c.run_id == run_id).order_by(c.layer_id)
    return connection.execute(query).all()


def layer_info(row: Any) -> LayerInfo:
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
