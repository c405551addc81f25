"""Rows of alerts, one per run, layer and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from relumine import views
from relumine_server.storage import tables as t
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.runs import moment

BY_HAND = "by "
"""How the reason begins where somebody resolved an alert; no reason of the detector's does."""


def alert_id(run_id: str, layer_id: int, kind: str) -> str:
    """The id of an alert; it carries its run, so that every query for it can name the run."""
    return f"{run_id}.{layer_id}.{kind}"


def run_of(alert: str) -> str:
    """The run that an alert's id carries."""
    return alert.split(".", 1)[0]


def load(connection: sa.Connection, run_id: str, alert: str) -> sa.Row[Any] | None:
    """The row of an alert."""
    c = t.alerts.c
    return connection.execute(sa.select(t.alerts).where(c.run_id == run_id, c.alert_id == alert)).first()


def insert(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """A new alert."""
    connection.execute(sa.insert(t.alerts).values(**values))


def update(connection: sa.Connection, run_id: str, alert: str, values: Mapping[str, Any]) -> None:
    """Set columns of an alert."""
    c = t.alerts.c
    connection.execute(sa.update(t.alerts).where(c.run_id == run_id, c.alert_id == alert).values(**values))


def find(connection: sa.Connection, run_id: str, alert_ids: Sequence[str], base_url: str) -> list[views.Alert]:
    """The alerts of a run with these ids, by the step they were opened at."""
    c = t.alerts.c
    return _select(connection, (c.run_id == run_id) & c.alert_id.in_(alert_ids), base_url)


def of_run(connection: sa.Connection, run_id: str, base_url: str) -> list[views.Alert]:
    """All alerts of a run, by the step they were opened at."""
    return _select(connection, t.alerts.c.run_id == run_id, base_url)


def is_closed_by_hand(alert: views.Alert) -> bool:
    """Whether somebody resolved it: the detector may hold the problem for open still."""
    return alert.resolved_reason is not None and alert.resolved_reason.startswith(BY_HAND)


def current(connection: sa.Connection, run_id: str, also: Sequence[str], base_url: str) -> list[views.Alert]:
    """The open alerts of a run, and those with these ids; in the order of the steps they were opened at."""
    return [view(row, base_url) for row in connection.execute(_CURRENT, {"run": run_id, "also": list(also)})]


def _select(connection: sa.Connection, condition: sa.ColumnElement[bool], base_url: str) -> list[views.Alert]:
    c = t.alerts.c
    query = _joined().where(condition).order_by(c.opened_step, c.layer_id, c.kind)
    return [view(row, base_url) for row in connection.execute(query)]


def select_page(
    connection: sa.Connection, filters: Mapping[str, Any], after: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Alerts, newest first; ``after`` is the (opened_at, run_id, alert_id) of the last one shown."""
    c = t.alerts.c
    query = _joined().order_by(c.opened_at.desc(), c.run_id.desc(), c.alert_id.desc()).limit(limit)
    for name, column in (("run_id", c.run_id), ("project", c.project), ("state", c.state), ("severity", c.severity)):
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    if filters.get("since") is not None:
        query = query.where(c.updated_at >= filters["since"])
    if after is not None:
        keys = sa.tuple_(sa.bindparam(None, after[0], UtcTime), after[1], after[2])
        query = query.where(sa.tuple_(c.opened_at, c.run_id, c.alert_id) < keys)
    return list(connection.execute(query))


def _joined() -> sa.Select[Any]:
    layer = (t.layers.c.run_id == t.alerts.c.run_id) & (t.layers.c.layer_id == t.alerts.c.layer_id)
    return (
        sa.select(t.alerts, t.layers.c.name.label("layer"), t.runs.c.name.label("run_name"), t.runs.c.group_name)
        .join(t.runs, t.runs.c.run_id == t.alerts.c.run_id)
        .outerjoin(t.layers, layer)
    )


_CURRENT = (
    _joined()
    .where(t.alerts.c.run_id == sa.bindparam("run"))
    .where((t.alerts.c.state != "resolved") | t.alerts.c.alert_id.in_(sa.bindparam("also", expanding=True)))
    .order_by(t.alerts.c.opened_step, t.alerts.c.layer_id, t.alerts.c.kind)
)


def view(row: sa.Row[Any], base_url: str) -> views.Alert:
    """An alert as the API shows it."""
    run_url = f"{base_url}/#/runs/{row.run_id}"
    return views.Alert(
        id=row.alert_id,
        run_id=row.run_id,
        project=row.project,
        run=views.AlertRun(name=row.run_name, group=row.group_name, url=run_url),
        layer=row.layer,
        layer_id=row.layer_id,
        kind=row.kind,
        state=row.state,
        severity=row.severity,
        cause=row.cause,
        confidence=row.confidence,
        opened_step=row.opened_step,
        resolved_step=row.resolved_step,
        opened_at=moment(row.opened_at) or "",
        updated_at=moment(row.updated_at) or "",
        resolved_at=moment(row.resolved_at),
        resolved_reason=row.resolved_reason,
        title=row.title,
        message=row.message,
        url=f"{run_url}?alert={row.alert_id}",
        evidence=row.evidence,
        forecast=row.forecast,
        remedies=row.remedies,
    )
