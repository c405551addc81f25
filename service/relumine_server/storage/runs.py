"""Rows of runs, their projects, sessions and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from relumine import views
from relumine.wire import LayerInfo, Upload
from relumine_server.storage import tables as t
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.dialect import insert, plain_insert, stored_moment

CHILDREN = {
    t.unit_rows: 16,
    t.chunks: 2_000,
    t.segments: 2_000,
    t.numbers: 2_000,
    t.uploads: 10_000,
    t.sessions: 10_000,
    t.layers: 10_000,
    t.detector_states: 1,
    t.history: 10_000,
    t.alerts: 10_000,
}
"""Tables whose keys begin with a run, and how many rows of each one transaction deletes."""

_r = t.runs.c
_RUN = sa.bindparam("run", type_=sa.Text)
_OPEN = t.alerts.c.run_id == _RUN, t.alerts.c.state != "resolved"  # bound, not by the row: Citus must see one run alone
_LOCKED = (
    sa.select(
        _r.run_id, _r.project, _r.group_name, _r.name, _r.state, _r.last_step, _r.dropped, _r.loose_records,
        _r.folded_session, _r.folded_seq, _r.folded_at, _r.session_step, _r.pause_s, _r.unit_rows, _r.unit_bytes,
        sa.exists().where(*_OPEN).label("has_open_alerts"),
        sa.exists().where(*_OPEN, t.alerts.c.layer_id == 0, t.alerts.c.kind == "stalled").label("seems_stalled"),
    )
    .where(_r.run_id == _RUN)
    .with_for_update()
)  # fmt: skip


def lock(
    connection: sa.Connection, upload: Upload, now: datetime, admit: Callable[[sa.Connection, str, datetime], None]
) -> Any:
    """Create the run where it is new, and lock its row for this transaction. Returns the row as it was.

    Raises what ``admit`` raises of a new run in this project.
    """
    found = connection.execute(_LOCKED, {"run": upload.run.id}).first()
    if found is not None:
        return found
    run = upload.run
    admit(connection, run.project, now)
    connection.execute(
        insert(connection, t.projects).values(project=run.project, created_at=now).on_conflict_do_nothing()
    )
    fresh = {
        "run_id": run.id,
        "project": run.project,
        "group_name": run.group,
        "name": run.name,
        "config": run.config,
        "tags": run.tags,
        "sdk": run.sdk,
        "torch": run.torch,
        "state": "running",
        "started_at": None if run.started_at is None else datetime.fromtimestamp(min(run.started_at, 4e9), UTC),
        "created_at": now,
        "updated_at": now,
        "dropped": {},
    }
    connection.execute(insert(connection, t.runs).values(**fresh).on_conflict_do_nothing())
    return connection.execute(_LOCKED, {"run": run.id}).one()


def lock_folded(connection: sa.Connection, run_id: str) -> tuple[str, int] | None:
    """Lock the row of a run for this transaction; session and seq of its last folded upload, None without any."""
    query = sa.select(_r.folded_session, _r.folded_seq).where(_r.run_id == run_id).with_for_update()
    row = connection.execute(query).first()
    return None if row is None or row.folded_session is None else (row.folded_session, row.folded_seq)


def hold(connection: sa.Connection, run_id: str) -> Any:
    """Lock the row of a run for this transaction; None where there is none."""
    return connection.execute(_LOCKED, {"run": run_id}).first()


_UPLOAD = tuple(column.name for column in t.uploads.columns)
_CLAIM = postgresql.insert(t.uploads).on_conflict_do_nothing().returning(t.uploads.c.seq)


def claim(connection: sa.Connection, upload: Upload, *, late: bool, folded: bool, now: datetime) -> bool:
    """Take the upload's key. False where it was taken before: a duplicate."""
    last = int(upload.records.scalars["step"].max()) if len(upload.records) else None
    key = (upload.run.id, upload.session, upload.rank, upload.seq)
    about = (len(upload.records), last, late, folded)
    if connection.dialect.name == "sqlite":
        statement = f"{plain_insert(t.uploads, _UPLOAD)} ON CONFLICT DO NOTHING"
        return connection.exec_driver_sql(statement, (*key, stored_moment(now), *about)).rowcount > 0
    row = dict(zip(_UPLOAD, (*key, now, *about), strict=True))
    return connection.execute(_CLAIM, row).first() is not None


def update(connection: sa.Connection, run_id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a run."""
    connection.execute(_update(tuple(values)), {"run": run_id, **{f"new_{n}": value for n, value in values.items()}})


@lru_cache(maxsize=256)
def _update(names: tuple[str, ...]) -> sa.Update:
    """The statement that sets these columns; building it costs more than SQLite's work with it."""
    new = {name: sa.bindparam(f"new_{name}", type_=t.runs.c[name].type) for name in names}
    return sa.update(t.runs).where(t.runs.c.run_id == sa.bindparam("run")).values(new)


def save_layers(connection: sa.Connection, run_id: str, layers: Sequence[LayerInfo]) -> None:
    """Insert layers, or renew what is known of them."""
    if not layers:
        return
    rows = [
        {"run_id": run_id, "layer_id": one.layer_id, "name": one.name, "units": one.units, "info": one.model_dump()}
        for one in {layer.layer_id: layer for layer in layers}.values()
    ]
    statement = insert(connection, t.layers)
    new = {name: statement.excluded[name] for name in ("name", "units", "info")}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "layer_id"], set_=new), rows)


def load_layers(connection: sa.Connection, run_id: str) -> list[LayerInfo]:
    """The layers of a run in the order of their ids."""
    query = sa.select(t.layers.c.info).where(t.layers.c.run_id == run_id).order_by(t.layers.c.layer_id)
    return [LayerInfo.model_validate(info) for info in connection.scalars(query)]


def find(connection: sa.Connection, run_id: str) -> sa.Row[Any] | None:
    """The row of a run."""
    return connection.execute(sa.select(t.runs).where(t.runs.c.run_id == run_id)).first()


def view(connection: sa.Connection, rows: Sequence[sa.Row[Any]], base_url: str) -> list[views.Run]:
    """Runs as the API shows them, with the number of their open alerts."""
    ids = [row.run_id for row in rows]
    count = (
        sa.select(t.alerts.c.run_id, sa.func.count())
        .where(t.alerts.c.run_id.in_(ids), t.alerts.c.state != "resolved")
        .group_by(t.alerts.c.run_id)
    )
    opened = {row[0]: int(row[1]) for row in connection.execute(count)}
    return [_view(row, opened.get(row.run_id, 0), base_url) for row in rows]


def _view(row: sa.Row[Any], open_alerts: int, base_url: str) -> views.Run:
    dropped: dict[str, int] = {}
    for counts in row.dropped.values():
        for reason, number in counts.items():
            dropped[reason] = dropped.get(reason, 0) + number
    return views.Run(
        run_id=row.run_id,
        project=row.project,
        group=row.group_name,
        name=row.name,
        state=row.state,
        config=row.config,
        tags=row.tags,
        sdk=row.sdk,
        torch=row.torch,
        started_at=moment(row.started_at),
        created_at=row.created_at.isoformat().replace("+00:00", "Z"),
        updated_at=row.updated_at.isoformat().replace("+00:00", "Z"),
        finished_at=moment(row.finished_at),
        last_step=row.last_step,
        dropped=dropped,
        coverage=row.coverage,
        open_alerts=open_alerts,
        url=f"{base_url}/#/runs/{row.run_id}",
    )


def moment(value: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def select_page(
    connection: sa.Connection, filters: Mapping[str, str | None], after: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Runs, newest first; ``after`` is the (created_at, run_id) of the last one shown."""
    c = t.runs.c
    query = sa.select(t.runs).order_by(c.created_at.desc(), c.run_id.desc()).limit(limit)
    for name, column in (("project", c.project), ("group", c.group_name), ("state", c.state)):
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    if after is not None:
        query = query.where(sa.tuple_(c.created_at, c.run_id) < sa.tuple_(*_keys(after)))
    return list(connection.execute(query))


def _keys(after: Sequence[Any]) -> list[Any]:
    return [sa.bindparam(None, after[0], UtcTime), after[1]]


def projects(connection: sa.Connection, after: str | None, limit: int, only: str | None = None) -> list[views.Project]:
    """Projects behind a name, in the order of names, with the number of their runs; ``only`` one where it is named."""
    counted = sa.select(t.runs.c.project, sa.func.count().label("runs")).group_by(t.runs.c.project).subquery()
    query = (
        sa.select(t.projects, sa.func.coalesce(counted.c.runs, 0).label("runs"))
        .outerjoin(counted, counted.c.project == t.projects.c.project)
        .order_by(t.projects.c.project)
        .limit(limit)
    )
    if after is not None:
        query = query.where(t.projects.c.project > after)
    if only is not None:
        query = query.where(t.projects.c.project == only)
    return [
        views.Project(project=row.project, runs=row.runs, created_at=moment(row.created_at) or "")
        for row in connection.execute(query)
    ]


def delete(connection: sa.Connection, run_id: str) -> None:
    """Delete the row of a run whose children are gone, and what tells of it."""
    orphans = sa.select(t.deliveries.c.delivery_id).where(t.deliveries.c.run_id == run_id)
    connection.execute(sa.delete(t.attempts).where(t.attempts.c.delivery_id.in_(orphans)))
    for table in (t.deliveries, t.told, t.runs):
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))
