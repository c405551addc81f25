"""How a run ended, in one view: what was lost, what was found, and the worst of it."""

from __future__ import annotations

from typing import get_args

import sqlalchemy as sa

from relumine import views
from relumine_server.errors import RunNotFound
from relumine_server.storage import alerts, runs
from relumine_server.storage import tables as t

WORST = 5  # alerts that a summary carries


def of(connection: sa.Connection, run_id: str, base_url: str) -> views.RunSummary:
    """The summary of a run, as of now. Raises RunNotFound."""
    row = runs.find(connection, run_id)
    if row is None:
        raise RunNotFound
    run = runs.view(connection, [row], base_url)[0]
    mine = t.layers.c.run_id == run_id
    layers, units = connection.execute(sa.select(sa.func.count(), sa.func.sum(t.layers.c.units)).where(mine)).one()
    return views.RunSummary(
        run_id=run_id,
        project=run.project,
        name=run.name,
        group=run.group,
        state=run.state,
        url=run.url,
        started_at=run.started_at,
        finished_at=run.finished_at,
        last_step=run.last_step,
        layers=layers,
        units=int(units or 0),
        lost=_lost(connection, run_id),
        alerts=_counts(connection, run_id),
        worst=alerts.worst(connection, run_id, base_url, WORST),
    )


def _lost(connection: sa.Connection, run_id: str) -> list[str]:
    """Layers whose death was never over: it is open, or was closed by a person or by the run's end."""
    a = t.alerts.c
    query = (
        sa.select(t.layers.c.layer_id, t.layers.c.name)
        .join(t.alerts, (a.run_id == t.layers.c.run_id) & (a.layer_id == t.layers.c.layer_id))
        .where(a.run_id == run_id, a.kind.in_(["dead", "born_dead"]), a.closed_by.is_distinct_from("detector"))
        .distinct()
        .order_by(t.layers.c.layer_id)
    )
    return [row.name for row in connection.execute(query)]


def _counts(connection: sa.Connection, run_id: str) -> dict[views.Severity, int]:
    a = t.alerts.c
    query = sa.select(a.severity, sa.func.count()).where(a.run_id == run_id).group_by(a.severity)
    found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {severity: found.get(severity, 0) for severity in get_args(views.Severity)}
