"""Rows of alerts, one per run, layer and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from relumine import views
from relumine_server.storage import tables as t
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.runs import moment

SHOWN = 200
"""Alerts that one answer carries: of a run that loses ten thousand layers at once the worst are enough to act on."""

IDS_AT_ONCE = 5_000  # a database takes only so many values in one statement


def alert_id(run_id: str, layer_id: int, kind: str) -> str:
    """The id of an alert; it carries its run, so that every query for it can name the run."""
    return f"{run_id}.{layer_id}.{kind}"


def run_of(alert: str) -> str:
    """The run that an alert's id carries."""
    return alert.split(".", 1)[0]


def find(connection: sa.Connection, run_id: str, alert_ids: Sequence[str], base_url: str) -> list[views.Alert]:
    """The alerts of a run with these ids, by the step they were opened at."""
    found = []
    for begin in range(0, len(alert_ids), IDS_AT_ONCE):
        some = t.alerts.c.alert_id.in_(alert_ids[begin : begin + IDS_AT_ONCE])
        found += [view(row, base_url) for row in connection.execute(_joined().where(_of(run_id), some))]
    return _in_order(found)


def of_run(connection: sa.Connection, run_id: str, base_url: str) -> list[views.Alert]:
    """All alerts of a run, by the step they were opened at."""
    return _in_order([view(row, base_url) for row in connection.execute(_joined().where(_of(run_id)))])


def worst(connection: sa.Connection, run_id: str, base_url: str, limit: int) -> list[views.Alert]:
    """The worst alerts of a run, the worst first."""
    query = _joined().where(_of(run_id)).order_by(*_badness()).limit(limit)
    return [view(row, base_url) for row in connection.execute(query)]


def closed_from_outside(connection: sa.Connection, run_id: str) -> set[str]:
    """Ids of alerts that a person or the run's end closed: the detector may hold the problem for open still."""
    c = t.alerts.c
    return set(connection.scalars(sa.select(c.alert_id).where(_of(run_id), c.closed_by.in_(["person", "run"]))))


def current(connection: sa.Connection, run_id: str, also: Sequence[str], base_url: str) -> list[views.Alert]:
    """The open alerts of a run, and those with these ids, the worst ``SHOWN``; by the step they were opened at."""
    rows = connection.execute(_CURRENT, {"run": run_id, "also": list(also[:SHOWN])})
    return _in_order([view(row, base_url) for row in rows])


def _of(run_id: str) -> sa.ColumnElement[bool]:
    return t.alerts.c.run_id == run_id


def _in_order(found: list[views.Alert]) -> list[views.Alert]:
    return sorted(found, key=lambda alert: (alert.opened_step, alert.layer_id, alert.kind))


def _badness() -> tuple[sa.ColumnElement[Any], ...]:
    """Open ones first, and those that were open to the end of the run; then by severity, and what is explained last."""
    c = t.alerts.c
    severity = sa.case({name: rank for rank, name in enumerate(reversed(views.SEVERITIES))}, value=c.severity)
    closed = sa.case((c.state != "resolved", 0), (c.closed_by == "run", 1), else_=2)
    muted = sa.case((c.muted_by.is_not(None), 1), else_=0)
    return (closed, severity, muted, c.opened_step, c.layer_id, c.kind)


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
    .order_by(*_badness())
    .limit(SHOWN)
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
        acknowledged=_acknowledgement(row),
        muted_by=row.muted_by,
        silenced_by=row.silenced_by,
    )


def _acknowledgement(row: sa.Row[Any]) -> views.Acknowledgement | None:
    if row.acknowledged_by is None:
        return None
    since = moment(row.acknowledged_at) or ""
    return views.Acknowledgement(author=row.acknowledged_by, note=row.acknowledged_note or "", at=since)
