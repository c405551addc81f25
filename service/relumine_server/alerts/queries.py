"""Queries for alerts, as the API answers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from relumine.schemas import alert as schema_alert
from relumine.schemas.base import rfc3339
from relumine_server.db import keyset, tables
from relumine_server.db.tables.runs import run_is_visible

MAX_ALERTS = 200
"""Alerts in one answer: of a run that loses ten thousand layers at once, the worst are enough to act on."""

IDS_PER_QUERY = 5_000  # databases limit the number of values in one statement


def find(connection: sa.Connection, run_id: str, alert_ids: Sequence[str], base_url: str) -> list[schema_alert.Alert]:
    """Return the alerts of a run with these ids, by the step at which they were opened."""
    alerts: list[schema_alert.Alert] = []
    for begin in range(0, len(alert_ids), IDS_PER_QUERY):
        has_id = tables.alerts.c.alert_id.in_(alert_ids[begin : begin + IDS_PER_QUERY])
        alerts += _views(connection.execute(_with_run_and_layer().where(_is_of_run(run_id), has_id)), base_url)
    return sorted(alerts, key=_opening_order)


def load_run(connection: sa.Connection, run_id: str, base_url: str) -> list[schema_alert.Alert]:
    """Return all alerts of a run, by the step at which they were opened."""
    rows = connection.execute(_with_run_and_layer().where(_is_of_run(run_id)))
    return sorted(_views(rows, base_url), key=_opening_order)


def load_worst(connection: sa.Connection, run_id: str, base_url: str, limit: int) -> list[schema_alert.Alert]:
    """Return the worst alerts of a run, worst first."""
    query = _with_run_and_layer().where(_is_of_run(run_id)).order_by(*_worst_first()).limit(limit)
    return _views(connection.execute(query), base_url)


def load_ended(connection: sa.Connection, run_id: str, base_url: str, limit: int) -> list[schema_alert.Alert]:
    """Return the worst alerts that were open when the run ended, worst first; of severity ``info`` only deaths."""
    a = tables.alerts.c
    counts = sa.or_(a.severity != "info", a.kind == "dead")
    ended = _with_run_and_layer().where(_is_of_run(run_id), a.state == "ended", counts)
    return _views(connection.execute(ended.order_by(*_worst_first()).limit(limit)), base_url)


def closed_from_outside(connection: sa.Connection, run_id: str) -> set[str]:
    """Return the ids of alerts that a person or the run's end closed; for the detector they may still be open."""
    c = tables.alerts.c
    query = sa.select(c.alert_id).where(_is_of_run(run_id), (c.resolved_by == "person") | (c.state == "ended"))
    return set(connection.scalars(query))


def current(connection: sa.Connection, run_id: str, also: Sequence[str], base_url: str) -> list[schema_alert.Alert]:
    """Return the open alerts of a run and those with the ids ``also``, by the step at which they were opened.

    Of more than ``MAX_ALERTS`` the worst.
    """
    rows = connection.execute(_CURRENT, {"run": run_id, "also": list(also[:MAX_ALERTS])})
    return sorted(_views(rows, base_url), key=_opening_order)


def select_page(
    connection: sa.Connection, filters: Mapping[str, Any], position: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Return a page of alerts, newest first, and one more; ``position`` is (opened_at, run_id, alert_id)."""
    c = tables.alerts.c
    columns = (c.opened_at, c.run_id, c.alert_id)
    query = keyset.page(_with_run_and_layer(), columns, position, limit, descending=True)
    for name in ("run_id", "project", "severity", "kind"):
        if filters.get(name) is not None:
            query = query.where(c[name] == filters[name])
    if filters.get("state") is not None:
        query = query.where(tables.alert_is_open if filters["state"] == "open" else c.state == filters["state"])
    if filters.get("since") is not None:
        query = query.where(c.updated_at >= filters["since"])
    return list(connection.execute(query))


def _is_of_run(run_id: str) -> sa.ColumnElement[bool]:
    return tables.alerts.c.run_id == run_id


def _opening_order(alert: schema_alert.Alert) -> tuple[int, int, str]:
    return (alert.opened_step, alert.layer_id, alert.kind)


def _worst_first() -> tuple[sa.ColumnElement[Any], ...]:
    """Return the order: open alerts, those that ended with the run, the others; each by severity, inhibited last."""
    c = tables.alerts.c
    resolved_last = sa.case((tables.alert_is_open, 0), (c.state == "ended", 1), else_=2)
    ranks = {severity: schema_alert.severity_rank(severity) for severity in schema_alert.SEVERITIES}
    severity_rank = sa.case(ranks, value=c.severity)
    inhibited_last = sa.case((c.inhibited_by.is_not(None), 1), else_=0)
    return (resolved_last, severity_rank.desc(), inhibited_last, c.opened_step, c.layer_id, c.kind)


def _with_run_and_layer() -> sa.Select[Any]:
    a = tables.alerts.c
    layers = tables.layers.c
    return (
        sa.select(
            tables.alerts,
            layers.name.label("layer"),
            layers.label.label("layer_label"),
            tables.runs.c.name.label("run_name"),
            tables.runs.c.group_name,
            tables.runs.c.health.label("run_health"),
        )
        .join(tables.runs, (tables.runs.c.run_id == a.run_id) & run_is_visible)
        .outerjoin(tables.layers, (layers.run_id == a.run_id) & (layers.layer_id == a.layer_id))
    )


_CURRENT = (
    _with_run_and_layer()
    .where(tables.alerts.c.run_id == sa.bindparam("run"))
    .where(tables.alert_is_open | tables.alerts.c.alert_id.in_(sa.bindparam("also", expanding=True)))
    .order_by(*_worst_first())
    .limit(MAX_ALERTS)
)


def _views(rows: Iterable[sa.Row[Any]], base_url: str) -> list[schema_alert.Alert]:
    return [alert_view(row, base_url) for row in rows]


def alert_view(row: sa.Row[Any], base_url: str) -> schema_alert.Alert:
    """Return an alert as the API answers it, without its documents where they are damaged."""
    try:
        return _alert_view(row, base_url, evidence=row.evidence, forecast=row.forecast, remedies=row.remedies)
    except ValidationError:
        return _alert_view(row, base_url, evidence={}, forecast=None, remedies=[])


_AS_STORED = (
    "incident_id", "run_id", "project", "layer", "layer_label", "layer_id", "kind", "state", "severity", "cause",
    "confidence", "opened_step", "dead_step", "resolved_step", "ended_step", "resolved_reason", "title", "message",
    "inhibited_by", "silenced_by",
)  # fmt: skip
"""Columns that the API answers as they are stored."""


def _alert_view(row: sa.Row[Any], base_url: str, **documents: Any) -> schema_alert.Alert:
    return schema_alert.Alert(
        **{name: getattr(row, name) for name in _AS_STORED},
        id=row.alert_id,
        run=_run(row, base_url),
        opened_at=rfc3339(row.opened_at),
        updated_at=rfc3339(row.updated_at),
        resolved_at=rfc3339(row.resolved_at),
        ended_at=rfc3339(row.ended_at),
        outcome=_outcome(row),
        url=f"{_run_url(row, base_url)}?alert={row.alert_id}",
        **documents,
        acknowledged=_acknowledgement(row),
    )


def _run(row: sa.Row[Any], base_url: str) -> schema_alert.AlertRun:
    return schema_alert.AlertRun(name=row.run_name, group=row.group_name, url=_run_url(row, base_url))


def _run_url(row: sa.Row[Any], base_url: str) -> str:
    return f"{base_url}/#/runs/{row.run_id}"


def _outcome(row: sa.Row[Any]) -> schema_alert.Outcome | None:
    """Return how an alert ended: with its run, whose health is the outcome, or before that; None while it is open."""
    if row.state == "ended":
        health: schema_alert.Outcome = row.run_health
        return health
    if row.state == "resolved":
        return "closed" if row.resolved_by == "person" else "recovered"
    return None


def _acknowledgement(row: sa.Row[Any]) -> schema_alert.Acknowledgement | None:
    if row.acknowledged_by is None:
        return None
    return schema_alert.Acknowledgement(
        author=row.acknowledged_by, note=row.acknowledged_note or "", at=rfc3339(row.acknowledged_at)
    )
