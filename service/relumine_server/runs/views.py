"""Runs, projects and layers as the API answers them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from relumine.schemas import chart
from relumine.schemas import run as schema_run
from relumine.schemas.base import rfc3339
from relumine.schemas.health import HealthStatus
from relumine.schemas.record_table import Array
from relumine_server.db import keyset, tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.runs import repository as run_repository
from relumine_server.runs.health import reported_watching
from relumine_server.runs.rows import RunRow
from relumine_server.timeseries import codec, downsampling, run_trace, segments
from relumine_server.timeseries.segments import LatestReading

_LAYERS = TypeAdapter(list[schema_run.Layer])
_SHARES = LatestReading._fields[3:]
_NO_READING = LatestReading(*[None] * len(LatestReading._fields))


def run_views(connection: sa.Connection, runs: Sequence[RunRow], base_url: str) -> list[schema_run.Run]:
    """Return runs with the numbers of their alerts and layers."""
    run_ids = [run.run_id for run in runs]
    alert_counts = _alert_counts(connection, run_ids)
    layer = tables.layers.c
    query = sa.select(layer.run_id, sa.func.count()).where(layer.run_id.in_(run_ids)).group_by(layer.run_id)
    layers = {run_id: int(count) for run_id, count in connection.execute(query)}
    views = []
    for run in runs:
        counts = RunCounts(layers.get(run.run_id, 0), alert_counts.get(run.run_id, NO_ALERTS))
        views.append(_readable_view(run, counts, base_url))
    return views


class RunCounts(NamedTuple):
    """Numbers of a run that other tables hold."""

    layers: int
    alerts: schema_run.AlertCounts


NO_ALERTS = schema_run.AlertCounts(critical=0, warning=0, info=0, open=0)


def _alert_counts(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, schema_run.AlertCounts]:
    """Return the numbers of alerts by run; a run without any is left out."""
    a = tables.alerts.c
    is_open = sa.func.sum(sa.case((tables.alert_is_open, 1), else_=0))
    query = sa.select(a.run_id, a.severity, sa.func.count(), is_open).where(a.run_id.in_(run_ids))
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for run_id, severity, count, open_count in connection.execute(query.group_by(a.run_id, a.severity)):
        totals[run_id].update({severity: int(count), "open": int(open_count)})
    empty = NO_ALERTS.model_dump()
    return {run_id: schema_run.AlertCounts(**{**empty, **counts}) for run_id, counts in totals.items()}


def _readable_view(run: RunRow, counts: RunCounts, base_url: str) -> schema_run.Run:
    """Return a run, without its documents where they are damaged: a list must not fail for one of its runs."""
    try:
        return _run_view(run, counts, base_url)
    except (ValidationError, AttributeError, TypeError):
        bare = replace(run, config={}, tags=[], dropped={}, coverage=None, watching=None)
        return _run_view(bare, counts, base_url)


_AS_STORED = (
    "run_id", "project", "name", "status", "health", "health_reason", "config", "tags", "sdk", "torch", "last_step",
    "is_shared", "coverage", "layers_dead", "sampled_steps", "last_layer_step", "final_loss",
    "steps_per_s", "lost_fraction",
)  # fmt: skip
"""Columns that the API answers as they are stored."""


def _run_view(run: RunRow, counts: RunCounts, base_url: str) -> schema_run.Run:
    return schema_run.Run(
        **{name: getattr(run, name) for name in _AS_STORED},
        group=run.group_name,
        started_at=rfc3339(run.started_at),
        created_at=rfc3339(run.created_at),
        updated_at=rfc3339(run.updated_at),
        last_upload_at=rfc3339(run.last_heartbeat_at),
        finished_at=None if run.status == "running" else rfc3339(run.finished_at),
        dropped=dict(run.dropped),
        watching=None if run.watching is None else reported_watching(run.watching),
        layers=counts.layers,
        alert_counts=counts.alerts,
        open_alerts=counts.alerts.open,
        duration_s=duration_s(run),
        first_step=run.session_first_step,
        url=f"{base_url}/#/runs/{run.run_id}",
    )


def duration_s(run: RunRow) -> float | None:
    """Return the seconds from the start of a run to its end, or to its last upload.

    None where they are negative: the start comes from the clock of the training.
    """
    finished_at = None if run.status == "running" else run.finished_at
    end = finished_at or run.last_heartbeat_at or run.updated_at
    seconds = (end - (run.started_at or run.created_at)).total_seconds()
    return seconds if seconds >= 0 else None


def lost_traces(connection: sa.Connection, run_ids: Sequence[str], project: str | None) -> list[chart.LostTrace]:
    """Return the traces of runs, in the order of the ids; those that are not there, or not of the project, left out."""
    r = tables.runs.c
    query = sa.select(r.run_id, r.trace).where(r.run_id.in_(run_ids), run_is_visible)
    if project is not None:
        query = query.where(r.project == project)
    traces = {run_id: run_trace.points_to_draw(trace) for run_id, trace in connection.execute(query)}
    return [
        chart.LostTrace(
            run_id=run_id,
            step=downsampling.to_ints(traces[run_id]["step"]),
            lost_fraction=_rounded(traces[run_id]["lost_fraction"]),
            loss=_rounded(traces[run_id]["loss"]),
        )
        for run_id in dict.fromkeys(run_ids)
        if run_id in traces
    ]


def _rounded(values: Array) -> list[float | None]:
    """Return float32 numbers as short as they are exact."""
    numbers = downsampling.to_json_numbers(values)
    return [None if number is None else float(f"{number:.6g}") for number in numbers]


def project_views(
    connection: sa.Connection, position: Sequence[str] | None, limit: int, only: str | None = None
) -> list[schema_run.Project]:
    """Return a page of projects by name with the health of their runs, and one more; or ``only`` one project.

    ``position`` is (project,).
    """
    p = tables.projects.c
    query = keyset.page(sa.select(p.project, p.created_at), (p.project,), position, limit)
    if only is not None:
        query = query.where(p.project == only)
    rows = connection.execute(query).all()
    counts = _health_counts(connection, [row.project for row in rows])
    return [
        schema_run.Project(
            project=row.project,
            runs=counts[row.project].total(),
            health_counts=dict(counts[row.project]),
            created_at=rfc3339(row.created_at),
        )
        for row in rows
    ]


def _health_counts(connection: sa.Connection, projects: Sequence[str]) -> dict[str, Counter[HealthStatus]]:
    """Return the numbers of visible runs by health, of each project."""
    r = tables.runs.c
    query = sa.select(r.project, r.health, sa.func.count()).where(r.project.in_(projects), run_is_visible)
    counts: dict[str, Counter[HealthStatus]] = {project: Counter() for project in projects}
    for project, health, count in connection.execute(query.group_by(r.project, r.health)):
        counts[project][health] = int(count)
    return counts


def ranked_layers(connection: sa.Connection, run_id: str) -> list[schema_run.Layer]:
    """Return the layers of a run with their latest reading, those at most risk first."""
    rows = run_repository.layer_rows(connection, run_id)
    readings = segments.latest_readings(connection, run_id)
    return sorted(_layer_views(rows, readings), key=lambda layer: (-layer.risk, layer.layer_id))


def _layer_views(rows: Sequence[Any], readings: Mapping[int, LatestReading]) -> list[schema_run.Layer]:
    """Return layers with their readings: validated all at once, or one by one where a description is damaged."""
    of_layers = [readings.get(layer_id, _NO_READING) for layer_id in codec.column_of(rows, "layer_id")]
    try:
        return _LAYERS.validate_python([_layer_values(*of_row) for of_row in zip(rows, of_layers, strict=True)])
    except ValidationError:
        return [_layer_view(row, reading) for row, reading in zip(rows, of_layers, strict=True)]


def _layer_view(row: Any, reading: LatestReading) -> schema_run.Layer:
    """Return a layer with a reading."""
    try:
        return schema_run.Layer.model_validate(_layer_values(row, reading))
    except ValidationError:  # a description that is damaged, or of another version
        layer = run_repository.layer_info(row)
        values = _reading_values(reading, can_die=layer.can_die)
        return schema_run.Layer(**layer.model_dump(), label=row.label, **values)


def _layer_values(row: Any, reading: LatestReading) -> dict[str, Any]:
    info = row.info
    return {**info, "label": row.label, **_reading_values(reading, can_die=info.get("can_die"))}


def _reading_values(reading: LatestReading, *, can_die: bool | None) -> dict[str, Any]:
    """Return the fields of a layer that come from its reading; one without waits for its first, if it can die."""
    step, code, risk, *shares = reading
    state: schema_run.LayerState = "waiting" if can_die else "cannot_die"
    if code is not None:
        state = codec.STATES[int(code)]
    return {
        "state": state,
        "risk": 0.0 if risk is None else risk,
        "last_step": None if step is None else int(step),
        **dict(zip(_SHARES, shares, strict=True)),
    }
