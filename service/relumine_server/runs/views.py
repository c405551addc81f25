"""Runs, projects and layers as the API answers them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from pydantic import ValidationError

from relumine.schemas import run as schema_run
from relumine.schemas.base import rfc3339
from relumine.schemas.upload import LayerInfo
from relumine_server.db import keyset, tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.runs import repository as run_repository
from relumine_server.runs.rows import RunRow
from relumine_server.timeseries import codec, segments

_SHARES = ("active_rate", "dying_fraction", "dead_fraction", "born_dead_fraction")


def run_views(connection: sa.Connection, runs: Sequence[RunRow], base_url: str) -> list[schema_run.Run]:
    """Return runs with the number of their open alerts."""
    a = tables.alerts.c
    query = sa.select(a.run_id, sa.func.count()).where(a.run_id.in_([run.run_id for run in runs]), tables.alert_is_open)
    open_alerts = {run_id: int(count) for run_id, count in connection.execute(query.group_by(a.run_id))}
    return [_readable_view(run, open_alerts.get(run.run_id, 0), base_url) for run in runs]


def _readable_view(run: RunRow, open_alerts: int, base_url: str) -> schema_run.Run:
    """Return a run, without its documents where they are damaged: a list must not fail for one of its runs."""
    try:
        return _run_view(run, open_alerts, base_url)
    except (ValidationError, AttributeError, TypeError):
        bare = replace(run, config={}, tags=[], dropped={}, coverage=None, watching=None)
        return _run_view(bare, open_alerts, base_url)


def _run_view(run: RunRow, open_alerts: int, base_url: str) -> schema_run.Run:
    return schema_run.Run(
        run_id=run.run_id,
        project=run.project,
        group=run.group_name,
        name=run.name,
        status=run.status,
        config=run.config,
        tags=run.tags,
        sdk=run.sdk,
        torch=run.torch,
        started_at=rfc3339(run.started_at),
        created_at=rfc3339(run.created_at),
        updated_at=rfc3339(run.updated_at),
        finished_at=None if run.status == "running" else rfc3339(run.finished_at),
        last_step=run.last_step,
        dropped=dict(run.dropped),
        is_shared=run.is_shared,
        coverage=run.coverage,
        watching=run.watching,
        open_alerts=open_alerts,
        url=f"{base_url}/#/runs/{run.run_id}",
    )


def project_views(
    connection: sa.Connection, position: Sequence[str] | None, limit: int, only: str | None = None
) -> list[schema_run.Project]:
    """Return a page of projects by name with the number of their runs, and one more; or ``only`` one project.

    ``position`` is (project,).
    """
    p = tables.projects.c
    visible = sa.select(tables.runs.c.project, sa.func.count().label("runs")).where(run_is_visible)
    counts = visible.group_by(tables.runs.c.project).subquery()
    projects = sa.select(p.project, p.created_at, sa.func.coalesce(counts.c.runs, 0).label("runs")).outerjoin(
        counts, counts.c.project == p.project
    )
    query = keyset.page(projects, (p.project,), position, limit)
    if only is not None:
        query = query.where(p.project == only)
    return [
        schema_run.Project(project=row.project, runs=row.runs, created_at=rfc3339(row.created_at))
        for row in connection.execute(query)
    ]


def ranked_layers(connection: sa.Connection, run_id: str) -> list[schema_run.Layer]:
    """Return the layers of a run with their latest reading, those at most risk first."""
    layers = run_repository.load_layers(connection, run_id)
    readings = segments.latest_readings(connection, run_id)
    views = [_layer_view(layer, readings.get(layer.layer_id, {})) for layer in layers]
    return sorted(views, key=lambda layer: (-layer.risk, layer.layer_id))


def _layer_view(layer: LayerInfo, reading: Mapping[str, float]) -> schema_run.Layer:
    """Return a layer with a reading; a layer without one waits for its first, if it can die."""
    measured = {name: value for name, value in reading.items() if not math.isnan(value)}
    state: schema_run.LayerState = "waiting" if layer.can_die else "cannot_die"
    if "state" in measured:
        state = codec.STATES[int(measured["state"])]
    return schema_run.Layer(
        **layer.model_dump(),
        state=state,
        risk=measured.get("risk", 0.0),
        last_step=int(measured["step"]) if "step" in measured else None,
        **{name: measured.get(name) for name in _SHARES},
    )
