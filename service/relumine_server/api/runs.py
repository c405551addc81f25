"""Runs: list, read, change, delete; the overview that a page lives on; logged numbers; export."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from relumine import curves, views
from relumine.table import MAX_STEP
from relumine_server import alerting
from relumine_server.api import cursors, downsample, layers, problems
from relumine_server.api.depends import ClockDep, CourierDep, ProjectShown, SettingsDep, StoreDep
from relumine_server.api.schemas import Cursor, Limit, NameQuery, NumberPoint, Numbers, RunChange, RunId, StepQuery
from relumine_server.errors import BadCursor, RunNotFound
from relumine_server.storage import alerts, numbers, retention, runs, series
from relumine_server.storage.series import Spread
from relumine_server.storage.store import Store

router = APIRouter(prefix="/v1", tags=["runs"])

OVERVIEW_POINTS = 1_000
TRACED = ("dead_fraction", "born_dead_fraction", "dying_fraction", "active_rate")
RUN_TRACED = ("learning_rate", "update_ratio", "loss")


@router.get("/runs", responses=problems.responses(BadCursor))
def list_runs(
    store: StoreDep,
    settings: SettingsDep,
    project: ProjectShown,
    group: NameQuery = None,
    state: Literal["running", "finished", "stalled", "failed"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> views.Page[views.Run]:
    """Runs, newest first."""
    after = cursors.decode(cursor, 2)
    filters = {"project": project, "group": group, "state": state}
    with store.read() as connection:
        rows = runs.select_page(connection, filters, after, limit + 1)
        shown = runs.view(connection, rows[:limit], settings.base_url)
    more = rows[limit - 1] if len(rows) > limit else None
    return views.Page(items=shown, next_cursor=cursors.encode([more.created_at, more.run_id]) if more else None)


@router.get("/runs/{run_id}", responses=problems.responses(RunNotFound))
def read_run(run_id: RunId, store: StoreDep, settings: SettingsDep) -> views.Run:
    """One run."""
    with store.read() as connection:
        return runs.view(connection, [existing(connection, run_id)], settings.base_url)[0]


@router.patch("/runs/{run_id}", responses=problems.responses(RunNotFound))
def change_run(
    run_id: RunId, change: RunChange, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> views.Run:
    """Rename, tag, or end a run; what is open is closed with it."""

    def work(connection: sa.Connection) -> views.Run:
        existing(connection, run_id)
        values = change.model_dump(exclude_unset=True, exclude_none=True, exclude={"state"})
        runs.update(connection, run_id, {**values, "updated_at": clock()})
        if change.state is not None:
            alerting.end(connection, run_id, change.state, clock())
        return runs.view(connection, [existing(connection, run_id)], settings.base_url)[0]

    changed = store.write(work)
    courier.wake()
    return changed


@router.delete("/runs/{run_id}", status_code=204, responses=problems.responses(RunNotFound))
def delete_run(run_id: RunId, store: StoreDep) -> None:
    """Delete a run and everything stored of it, piece by piece: others write in between."""
    with store.read() as connection:
        existing(connection, run_id)
    while store.write(lambda c: retention.delete_some(c, run_id)):
        pass


@router.get("/runs/{run_id}/overview", responses={304: {"description": "unchanged"}, **problems.responses(RunNotFound)})
def read_overview(
    run_id: RunId,
    store: StoreDep,
    settings: SettingsDep,
    response: Response,
    after_step: StepQuery = None,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> curves.Overview:
    """All that a page needs of a run. With its last ETag in ``If-None-Match``: 304 where nothing moved."""
    with store.read() as connection:
        row = existing(connection, run_id)
        shown = alerts.worst(connection, run_id, settings.base_url, alerts.SHOWN)
        tag = _etag(row, shown, after_step)
        if if_none_match == tag:
            return Response(status_code=304, headers={"etag": tag})  # type: ignore[return-value]  # FastAPI passes it on
        begin = 0 if after_step is None else after_step + 1
        ranked = layers.ranked(connection, run_id)
        ids, steps = [layer.layer_id for layer in ranked], (begin, MAX_STEP)
        found = series.spread(connection, run_id, ids, TRACED, steps=steps, points=OVERVIEW_POINTS)
        own = series.spread(connection, run_id, [0], RUN_TRACED, steps=steps, points=OVERVIEW_POINTS).get(0)
        overview = curves.Overview(
            run=runs.view(connection, [row], settings.base_url)[0],
            layers=ranked,
            traces=[_trace(layer_id, spread) for layer_id, spread in sorted(found.items()) if spread.step.size],
            run_trace=_run_trace(own, _logged_loss(connection, run_id, own, begin - 1)),
            alerts=shown,
            last_step=row.last_step,
        )
    response.headers["etag"] = tag
    return overview


def _etag(row: sa.Row[Any], shown: list[views.Alert], after_step: int | None) -> str:
    newest = max((alert.updated_at for alert in shown), default="")
    return f'"{row.updated_at.isoformat()}/{newest}/{len(shown)}/{after_step}"'


def _trace(layer_id: int, spread: Spread) -> curves.Trace:
    shown = downsample.reduced(spread, OVERVIEW_POINTS)
    most, last = shown.greatest, shown.latest
    return curves.Trace(
        layer_id=layer_id,
        step=downsample.whole(shown.step),
        dead_fraction=downsample.listed(np.nansum([most["dead_fraction"], most["born_dead_fraction"]], axis=0)),
        dying_fraction=downsample.listed(most["dying_fraction"]),
        active_rate=downsample.listed(last["active_rate"]),
    )


def _logged_loss(
    connection: sa.Connection, run_id: str, own: Spread | None, after_step: int
) -> list[tuple[int, float]]:
    """The loss as it was logged, where the records of the run do not carry it."""
    if own is not None and not np.isnan(own.latest["loss"]).all():
        return []
    return numbers.load(connection, run_id, after_step=after_step).points.get("loss", [])


def _run_trace(spread: Spread | None, loss: list[tuple[int, float]]) -> curves.RunTrace:
    if spread is None or not spread.step.size:
        return curves.RunTrace(step=[], learning_rate=[], update_ratio=[], loss=[])
    shown = downsample.reduced(spread, OVERVIEW_POINTS)
    return curves.RunTrace(
        step=downsample.whole(shown.step),
        learning_rate=downsample.listed(shown.greatest["learning_rate"]),
        update_ratio=downsample.listed(shown.greatest["update_ratio"]),
        loss=downsample.listed(downsample.nearest(shown.step, loss) if loss else shown.latest["loss"]),
    )


@router.get("/runs/{run_id}/numbers", responses=problems.responses(RunNotFound, BadCursor))
def read_numbers(run_id: RunId, store: StoreDep, after_step: StepQuery = None, cursor: Cursor = None) -> Numbers:
    """Numbers that the training logged, by name, a stretch of steps at a time."""
    begin = cursors.decode_step(cursor)
    if begin is None:
        begin = -1 if after_step is None else after_step
    with store.read() as connection:
        existing(connection, run_id)
        found = numbers.load(connection, run_id, after_step=begin)
    points = {
        name: [NumberPoint(step=step, value=value) for step, value in rows] for name, rows in found.points.items()
    }
    return Numbers(numbers=points, next_cursor=cursors.encode_step(found.until))


@router.get("/runs/{run_id}/export", response_class=StreamingResponse, responses=problems.responses(RunNotFound))
def export_run(run_id: RunId, store: StoreDep, format: Literal["csv"] = "csv") -> StreamingResponse:  # noqa: A002, ARG001 - the parameter's public name
    """All series of a run as one flat table: layer_id, layer, step, statistic, value."""
    with store.read() as connection:
        existing(connection, run_id)
        names = {0: "", **{layer.layer_id: layer.name for layer in runs.load_layers(connection, run_id)}}
    return StreamingResponse(_lines(store, run_id, names), media_type="text/csv")


def _lines(store: Store, run_id: str, names: dict[int, str]) -> Iterator[str]:
    """One statistic of one layer after the other, each read on its own: a long run does not fit the memory."""
    yield "layer_id,layer,step,statistic,value\n"
    for layer_id, layer in names.items():
        for name in sorted(layers.STATISTICS):
            with store.read() as connection:
                found = series.load(connection, run_id, [layer_id], [name], steps=(0, MAX_STEP)).get(layer_id)
            if found is not None:
                yield _csv([layer_id, layer], name, found)


def _csv(place: list[Any], name: str, found: series.Columns) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for step, value in zip(found["step"], downsample.listed(found[name]), strict=True):
        if value is not None:
            writer.writerow([*place, int(step), name, repr(value)])
    return buffer.getvalue()


def existing(connection: sa.Connection, run_id: str) -> sa.Row[Any]:
    """The row of a run. Raises RunNotFound."""
    row = runs.find(connection, run_id)
    if row is None:
        raise RunNotFound
    return row
