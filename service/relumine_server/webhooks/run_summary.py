"""The summary of a run that ``run.finished`` carries: dead layers, alerts by severity, and the alerts that ended."""

from __future__ import annotations

import sqlalchemy as sa

from relumine.schemas import alert
from relumine.schemas import run as schema_run
from relumine_server.alerts import queries as alert_queries
from relumine_server.db import tables
from relumine_server.errors import RunNotFound
from relumine_server.runs import repository as run_repository
from relumine_server.runs.views import run_views

MAX_ENDED_ALERTS = 20


def summarize(connection: sa.Connection, run_id: str, base_url: str) -> schema_run.RunSummary:
    """Return the summary of a run, as of now. Raises RunNotFound."""
    row = run_repository.find(connection, run_id)
    if row is None:
        raise RunNotFound
    (run,) = run_views(connection, [row], base_url)
    totals = sa.select(sa.func.count(), sa.func.sum(tables.layers.c.units)).where(tables.layers.c.run_id == run_id)
    layers, units = connection.execute(totals).one()
    return schema_run.RunSummary(
        run_id=run_id,
        project=run.project,
        name=run.name,
        group=run.group,
        status=run.status,
        health=run.health,
        health_reason=run.health_reason,
        url=run.url,
        started_at=run.started_at,
        finished_at=run.finished_at,
        last_step=run.last_step,
        layers=layers,
        units=int(units or 0),
        dead_layers=_dead_layers(connection, run_id),
        alert_counts=_counts_by_severity(connection, run_id),
        ended_alerts=alert_queries.load_ended(connection, run_id, base_url, MAX_ENDED_ALERTS),
    )


def _dead_layers(connection: sa.Connection, run_id: str) -> list[str]:
    """Return the names of layers that are dead: their alert is open, or was closed by a person or by the run's end."""
    a = tables.alerts.c
    layer = tables.layers.c
    query = (
        sa.select(layer.layer_id, layer.label.label("layer_label"))
        .join(tables.alerts, sa.and_(a.run_id == layer.run_id, a.layer_id == layer.layer_id))
        .where(a.run_id == run_id, a.kind.in_(["dead", "born_dead"]), a.resolved_by.is_distinct_from("detector"))
        .distinct()
        .order_by(layer.layer_id)
    )
    return [row.layer_label for row in connection.execute(query)]


def _counts_by_severity(connection: sa.Connection, run_id: str) -> dict[alert.Severity, int]:
    a = tables.alerts.c
    query = sa.select(a.severity, sa.func.count()).where(a.run_id == run_id).group_by(a.severity)
    counts: dict[str, int] = {severity: int(number) for severity, number in connection.execute(query)}
    return {severity: counts.get(severity, 0) for severity in alert.SEVERITIES}
