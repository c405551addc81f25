"""Queries for incidents, as the API answers them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from relumine.schemas import alert as schema_alert
from relumine.schemas.alert import AlertState, Cause, Kind, Severity
from relumine.schemas.base import rfc3339
from relumine.schemas.incident import Incident, IncidentLayer, incident_message, incident_title, lead_of
from relumine_server.alerts import queries as alert_queries
from relumine_server.db import keyset, tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.outbox import alert_refs

MAX_LISTED = 100
"""Alerts of an incident that are listed, the first by onset."""

_a = tables.alerts.c
_i = tables.incidents.c
IncidentKey: TypeAlias = tuple[str, str]
"""``(run_id, incident_id)``."""


class _ListedAlert(NamedTuple):
    """An alert without its documents: an incident may have thousands."""

    run_id: str
    incident_id: str
    alert_id: str
    layer_id: int
    layer: str | None
    layer_label: str | None
    kind: Kind
    cause: Cause
    severity: Severity
    state: AlertState
    opened_step: int
    title: str
    inhibited_by: str | None


def select_page(
    connection: sa.Connection, filters: Mapping[str, Any], position: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Return a page of incidents, newest first, and one more; ``position`` is (opened_at, run_id, incident_id)."""
    query = sa.select(tables.incidents).join(tables.runs, (tables.runs.c.run_id == _i.run_id) & run_is_visible)
    columns = (_i.opened_at, _i.run_id, _i.incident_id)
    query = keyset.page(query, columns, position, limit, descending=True)
    if filters.get("state") == "closed":
        query = query.where(_i.state != "open")
    elif filters.get("state") is not None:
        query = query.where(_i.state == filters["state"])
    for name in ("run_id", "project", "severity", "cause"):
        if filters.get(name) is not None:
            query = query.where(_i[name] == filters[name])
    if filters.get("since") is not None:
        query = query.where(_i.updated_at >= filters["since"])
    return list(connection.execute(query))


def find(connection: sa.Connection, incident_id: str, base_url: str) -> Incident | None:
    """Return an incident; None where there is none."""
    run_id = alert_refs.run_of(incident_id)
    query = sa.select(tables.incidents).join(tables.runs, (tables.runs.c.run_id == _i.run_id) & run_is_visible)
    rows = connection.execute(query.where(_i.run_id == run_id, _i.incident_id == incident_id)).all()
    return next(iter(incident_views(connection, rows, base_url)), None)


def incident_views(connection: sa.Connection, rows: Sequence[sa.Row[Any]], base_url: str) -> list[Incident]:
    """Return incidents with their alerts, in the order of the rows."""
    keys = [(row.run_id, row.incident_id) for row in rows]
    if not keys:
        return []
    listed = _listed_alerts(connection, keys)
    counts = _counts(connection, keys)
    leads = {key: lead_of(alerts) for key, alerts in listed.items()}
    full_leads = _load_leads(connection, list(leads.values()), base_url)
    views = []
    for row in rows:
        key = (row.run_id, row.incident_id)
        if key in leads and leads[key].alert_id in full_leads:
            views.append(_view(row, listed[key], counts[key], full_leads[leads[key].alert_id]))
    return views


def _is_member(keys: Sequence[IncidentKey]) -> sa.ColumnElement[bool]:
    """Return the condition for alerts of these incidents; it names their runs, by which rows are distributed."""
    runs = sorted({run_id for run_id, _ in keys})
    incidents = sorted({incident_id for _, incident_id in keys})
    return sa.and_(_a.run_id.in_(runs), _a.incident_id.in_(incidents))


def _listed_alerts(connection: sa.Connection, keys: Sequence[IncidentKey]) -> dict[IncidentKey, list[_ListedAlert]]:
    """Return the first alerts of each incident, in the order of their onsets."""
    order = (_a.opened_step, _a.layer_id, _a.alert_id)
    number = sa.func.row_number().over(partition_by=(_a.run_id, _a.incident_id), order_by=order)
    layers = tables.layers.c
    of_layer = {"layer": layers.name.label("layer"), "layer_label": layers.label.label("layer_label")}
    columns = [of_layer[name] if name in of_layer else _a[name] for name in _ListedAlert._fields]
    members = (
        sa.select(*columns, number.label("number"))
        .outerjoin(tables.layers, (layers.run_id == _a.run_id) & (layers.layer_id == _a.layer_id))
        .where(_is_member(keys))
        .subquery()
    )
    fields = [members.c[name] for name in _ListedAlert._fields]
    query = sa.select(*fields).where(members.c.number <= MAX_LISTED).order_by(members.c.number)
    alerts: dict[IncidentKey, list[_ListedAlert]] = defaultdict(list)
    for row in connection.execute(query):
        alert = _ListedAlert(*row)
        alerts[alert.run_id, alert.incident_id].append(alert)
    return alerts


def _counts(connection: sa.Connection, keys: Sequence[IncidentKey]) -> dict[IncidentKey, dict[Kind, int]]:
    """Return the numbers of alerts of each incident, by kind."""
    columns = (_a.run_id, _a.incident_id, _a.kind)
    query = sa.select(*columns, sa.func.count()).where(_is_member(keys)).group_by(*columns)
    counts: dict[IncidentKey, dict[Kind, int]] = defaultdict(dict)
    for run_id, incident_id, kind, count in connection.execute(query):
        counts[run_id, incident_id][kind] = count
    return counts


def _load_leads(
    connection: sa.Connection, leads: Sequence[_ListedAlert], base_url: str
) -> dict[str, schema_alert.Alert]:
    by_run: dict[str, list[str]] = defaultdict(list)
    for lead in leads:
        by_run[lead.run_id].append(lead.alert_id)
    alerts: dict[str, schema_alert.Alert] = {}
    for run_id, alert_ids in by_run.items():
        alerts |= {alert.id: alert for alert in alert_queries.find(connection, run_id, alert_ids, base_url)}
    return alerts


def _view(
    row: sa.Row[Any], alerts: Sequence[_ListedAlert], counts: Mapping[Kind, int], lead: schema_alert.Alert
) -> Incident:
    total = sum(counts.values())
    title = incident_title(alerts, counts)
    return Incident(
        id=row.incident_id,
        run_id=row.run_id,
        project=row.project,
        run=lead.run,
        state=row.state,
        severity=row.severity,
        cause=row.cause,
        opened_step=row.opened_step,
        opened_at=rfc3339(row.opened_at),
        updated_at=rfc3339(row.updated_at),
        title=title,
        message=lead.message if total == 1 else incident_message(lead, title, row.severity),
        url=lead.url,
        alert_count=total,
        layers=[_layer(alert) for alert in alerts],
        remedy=lead.remedies[0] if lead.remedies else None,
        outcome=lead.outcome,
        resolved_reason=lead.resolved_reason,
        silenced_by=lead.silenced_by,
    )


def _layer(alert: _ListedAlert) -> IncidentLayer:
    return IncidentLayer(
        alert_id=alert.alert_id,
        layer=alert.layer,
        layer_label=alert.layer_label,
        layer_id=alert.layer_id,
        kind=alert.kind,
        state=alert.state,
        severity=alert.severity,
        opened_step=alert.opened_step,
    )
