"""Routes of a run: read, change, delete, overview, logged metrics, export."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import pydantic_core
import sqlalchemy as sa
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from relumine.schemas import alert as schema_alert
from relumine.schemas import chart
from relumine.schemas import run as schema_run
from relumine.schemas.chart import LoggedMetrics, MetricPoint
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.printable import printable
from relumine_server.alerts import queries as alert_queries
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import (
    NOTE_VIEWED,
    AlertsDep,
    ClockDep,
    DatabaseDep,
    DispatcherDep,
    OverviewsDep,
    SettingsDep,
)
from relumine_server.api.schemas.common import (
    Cursor,
    RunChange,
    RunId,
    StepQuery,
)
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.db.database import Database
from relumine_server.errors import InvalidCursor, RunNotFound
from relumine_server.runs import repository as run_repository
from relumine_server.runs import retention, views
from relumine_server.runs.rows import RunRow
from relumine_server.timeseries import codec, downsampling, logged_metrics, traces
from relumine_server.timeseries import queries as series_queries
from relumine_server.timeseries.downsampling import Downsampled, SeriesColumns
from relumine_server.timeseries.logged_metrics import PagePosition

router = APIRouter(prefix="/v1", tags=["runs"], route_class=StrictQueryRoute)

CSV_CONTENT = {
    "text/csv": {
        "schema": {"type": "string"},
        "example": "layer_id,layer,step,statistic,value\n1,act1,10,active_rate,0.42\n",
    }
}
OVERVIEW_POINTS = 1_000
OVERVIEW_POINTS_OF_ALL = 200_000
MIN_OVERVIEW_POINTS = 20
"""Points of the trace of a layer, of all layers together, and of one however many there are."""
FORMULA_STARTS = ("=", "+", "-", "@")
"""First characters of a cell that spreadsheets run as a formula."""
RUN_STATISTICS = ("learning_rate", "update_ratio", "loss")
LAYER_STATISTICS = (*traces.STATISTICS, traces.KILL_RATIO)


@router.get("/runs/{run_id}", responses=problem_details.responses(RunNotFound))
def read_run(run_id: RunId, database: DatabaseDep, settings: SettingsDep) -> schema_run.Run:
    """Read one run."""
    with database.read() as connection:
        return _run_view(connection, run_id, settings.base_url)


@router.patch("/runs/{run_id}", responses=problem_details.responses(RunNotFound))
def change_run(
    run_id: RunId,
    change: RunChange,
    alerts: AlertsDep,
    database: DatabaseDep,
    settings: SettingsDep,
    clock: ClockDep,
    dispatcher: DispatcherDep,
) -> schema_run.Run:
    """Rename, tag, or end a run. Ending it resolves its open alerts."""

    def write(connection: sa.Connection) -> schema_run.Run:
        run_repository.get(connection, run_id)
        values = change.model_dump(exclude_unset=True, exclude_none=True, exclude={"status"})
        run_repository.update(connection, run_id, {**values, "updated_at": clock()})
        if change.status is not None:
            alerts.end_run(connection, run_id, change.status, clock())
        return _run_view(connection, run_id, settings.base_url)

    changed = database.write(write)
    dispatcher.wake()
    return changed


def _run_view(connection: sa.Connection, run_id: str, base_url: str) -> schema_run.Run:
    """Return a run. Raises RunNotFound."""
    (view,) = views.run_views(connection, [run_repository.get(connection, run_id)], base_url)
    return view


@router.delete("/runs/{run_id}", status_code=204, responses=problem_details.responses(RunNotFound))
def delete_run(run_id: RunId, database: DatabaseDep, clock: ClockDep) -> None:
    """Delete a run and everything stored of it, in batches: other writes get their turn in between.

    It is hidden at once. If the server is killed meanwhile, its maintenance deletes the rest.
    """
    if not database.write(lambda connection: run_repository.mark_deleted(connection, run_id, clock())):
        raise RunNotFound
    while database.write(lambda connection: retention.delete_batch(connection, run_id)):
        pass


@router.get(
    "/runs/{run_id}/overview",
    responses={304: {"description": "unchanged"}, **problem_details.responses(RunNotFound)},
    dependencies=[NOTE_VIEWED],
)
def read_overview(
    run_id: RunId,
    database: DatabaseDep,
    settings: SettingsDep,
    overviews: OverviewsDep,
    after_step: StepQuery = None,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> chart.Overview:
    """Read everything that a page needs of a run; 304 where ``If-None-Match`` has the current ETag."""
    with database.read() as connection:
        run = run_repository.get(connection, run_id)
        alerts = alert_queries.load_worst(connection, run_id, settings.base_url, alert_queries.MAX_ALERTS)
        etag = _etag(run, alerts, after_step)
        if if_none_match == etag:
            return Response(status_code=304, headers={"etag": etag})  # type: ignore[return-value]  # FastAPI passes it on
        (view,) = views.run_views(connection, [run], settings.base_url)
        body = overviews.get(view, alerts) if after_step is None else None
        if body is None:
            body = _overview(connection, view, alerts, after_step)
            if after_step is None:
                overviews.put(view, alerts, body)
    # As a response of our own: the framework would validate every number again.
    return Response(body, headers={"etag": etag}, media_type="application/json")  # type: ignore[return-value]


def _overview(
    connection: sa.Connection, run: schema_run.Run, alerts: list[schema_alert.Alert], after_step: int | None
) -> bytes:
    """Return the JSON of ``chart.Overview``."""
    layers = views.ranked_layers(connection, run.run_id)
    affordable = OVERVIEW_POINTS_OF_ALL // max(len(layers), 1)
    points = max(MIN_OVERVIEW_POINTS, min(OVERVIEW_POINTS, affordable))
    series = series_queries.read_extremes(
        connection,
        run.run_id,
        [layer.layer_id for layer in layers],
        LAYER_STATISTICS,
        steps=_steps_after(after_step),
        points=points,
    )
    overview = {
        "run": run,
        "layers": layers,
        "traces": traces.traces(series, points),
        "run_trace": _run_trace(connection, run.run_id, after_step, series),
        "alerts": alerts,
        "last_step": run.last_step,
    }
    return pydantic_core.to_json(overview, inf_nan_mode="null")


def _etag(run: RunRow, alerts: list[schema_alert.Alert], after_step: int | None) -> str:
    newest = max((alert.updated_at for alert in alerts), default="")
    # Weak, because the compressed and the plain form share it.
    return f'W/"{run.updated_at.isoformat()}/{newest}/{len(alerts)}/{after_step}"'


def _steps_after(after_step: int | None) -> tuple[int, int]:
    return (0 if after_step is None else after_step + 1, MAX_STEP)


def _run_trace(
    connection: sa.Connection, run_id: str, after_step: int | None, of_layers: Mapping[int, Downsampled]
) -> chart.RunTrace:
    """Return the run's own statistics, and the largest kill ratio of its layers.

    The loss is the logged metric of that name where records do not carry it.
    """
    series = series_queries.read_extremes(
        connection, run_id, [0], RUN_STATISTICS, steps=_steps_after(after_step), points=OVERVIEW_POINTS
    ).get(0)
    if series is None or not series.step.size:
        return chart.RunTrace(step=[], learning_rate=[], update_ratio=[], kill_ratio=[], loss=[])
    trace = downsampling.downsample(series, OVERVIEW_POINTS)
    loss = trace.last["loss"]
    if np.isnan(series.last["loss"]).all():
        page = logged_metrics.read_page(connection, run_id, _page_after(after_step))
        if "loss" in page.points:
            loss = downsampling.last_value_at(trace.step, page.points["loss"])
    return chart.RunTrace(
        step=downsampling.to_ints(trace.step),
        learning_rate=downsampling.to_json_numbers(trace.max["learning_rate"]),
        update_ratio=downsampling.to_json_numbers(trace.max["update_ratio"]),
        kill_ratio=downsampling.to_json_numbers(traces.largest_between(of_layers, traces.KILL_RATIO, trace.step)),
        loss=downsampling.to_json_numbers(loss),
    )


def _page_after(step: int | None) -> PagePosition:
    return PagePosition() if step is None else PagePosition(step)


@router.get("/runs/{run_id}/metrics", responses=problem_details.responses(RunNotFound, InvalidCursor))
def read_metrics(
    run_id: RunId, database: DatabaseDep, after_step: StepQuery = None, cursor: Cursor = None
) -> LoggedMetrics:
    """Read the metrics that the training logged, by name, a range of steps at a time."""
    values = pagination.decode(cursor, pagination.BEFORE_STEPS, pagination.STEPS, pagination.COUNTS)
    position = _page_after(after_step) if values is None else PagePosition(*values)
    with database.read() as connection:
        run_repository.get(connection, run_id)
        page = logged_metrics.read_page(connection, run_id, position)
    metrics = {}
    for name, points in page.points.items():
        metrics[name] = [MetricPoint(step=step, value=value) for step, value in points]
    next_cursor = None if page.following is None else pagination.encode(page.following)
    return LoggedMetrics(metrics=metrics, next_cursor=next_cursor)


@router.get(
    "/runs/{run_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": CSV_CONTENT}, **problem_details.responses(RunNotFound)},
)
def export_run(run_id: RunId, database: DatabaseDep, format: Literal["csv"] = "csv") -> StreamingResponse:  # noqa: A002, ARG001 - the parameter's public name
    """Export all series of a run as one flat table: layer_id, layer, step, statistic, value."""
    with database.read() as connection:
        run_repository.get(connection, run_id)
        layers = run_repository.load_layers(connection, run_id)
    names = {0: "", **{layer.layer_id: layer.name for layer in layers}}
    return StreamingResponse(_csv_parts(database, run_id, names), media_type="text/csv")


def _csv_parts(database: Database, run_id: str, layer_names: dict[int, str]) -> Iterator[str]:
    """Yield one statistic of one layer after the other, each read by itself: a long run does not fit into memory."""
    yield "layer_id,layer,step,statistic,value\n"
    for layer_id, layer_name in layer_names.items():
        for statistic in sorted(codec.SERIES_STATISTICS):
            with database.read() as connection:
                series = series_queries.read_series(connection, run_id, [layer_id], [statistic], steps=(0, MAX_STEP))
            if layer_id in series:
                yield _csv_rows(layer_id, layer_name, statistic, series[layer_id])


def _csv_rows(layer_id: int, layer_name: str, statistic: str, series: SeriesColumns) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    name = _csv_text(layer_name)
    for step, value in zip(series["step"], downsampling.to_json_numbers(series[statistic]), strict=True):
        if value is not None:
            writer.writerow([layer_id, name, int(step), statistic, repr(value)])
    return buffer.getvalue()


def _csv_text(text: str) -> str:
    """Return a text as a cell: without control characters, and never a formula that a spreadsheet would run."""
    cell = printable(text)
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
