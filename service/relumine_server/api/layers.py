"""Layers of a run: their present state, their series, their units."""

from __future__ import annotations

import math
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query

from relumine import curves, views
from relumine.table import MAX_STEP, RECORD_SCALARS
from relumine.wire import LayerInfo
from relumine_server.api import downsample, problems
from relumine_server.api.depends import StoreDep
from relumine_server.api.schemas import RunId, StepQuery
from relumine_server.errors import LayerNotFound, RunNotFound, UnitsNotFound, UnknownStatistic
from relumine_server.storage import encoding, runs, segments, series, sessions, units

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["layers"])

LayerId = Annotated[int, Path(ge=0, le=MAX_STEP)]

SHARES = ("active_rate", "dying_fraction", "dead_fraction", "born_dead_fraction")
STATISTICS = (*RECORD_SCALARS, *encoding.READINGS[:-1])


@router.get("/layers", responses=problems.responses(RunNotFound))
def list_layers(run_id: RunId, store: StoreDep) -> views.Page[views.Layer]:
    """The layers of a run, those at most risk first."""
    with store.read() as connection:
        _require(connection, run_id)
        return views.Page(items=ranked(connection, run_id), next_cursor=None)


@router.get("/layers/{layer_id}/series", responses=problems.responses(RunNotFound, LayerNotFound, UnknownStatistic))
def read_series(
    run_id: RunId,
    layer_id: LayerId,
    store: StoreDep,
    statistics: Annotated[str, Query(max_length=2000)] = "active_rate,dying_fraction,dead_fraction",
    from_step: StepQuery = None,
    to_step: StepQuery = None,
    points: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> curves.Series:
    """Statistics over steps, at most ``points`` of them; layer 0 is the run itself."""
    try:
        names = downsample.every_name(STATISTICS, statistics)
    except KeyError:
        raise UnknownStatistic(f"known are {', '.join(STATISTICS)}") from None
    steps = (from_step or 0, MAX_STEP if to_step is None else to_step)
    with store.read() as connection:
        _require(connection, run_id, layer_id)
        found = series.spread(connection, run_id, [layer_id], names, steps=steps, points=points).get(layer_id)
    shown = None if found is None else downsample.reduced(found, points)
    return curves.Series(
        layer_id=layer_id,
        step=[] if shown is None else downsample.whole(shown.step),
        statistics={name: _extremes(shown, name) for name in names},
    )


def _extremes(shown: series.Spread | None, name: str) -> curves.Extremes:
    if shown is None:
        return curves.Extremes(last=[], min=[], max=[])
    last, low, high = (downsample.listed(part[name]) for part in (shown.latest, shown.least, shown.greatest))
    return curves.Extremes(last=last, min=low, max=high)


@router.get("/layers/{layer_id}/units", responses=problems.responses(RunNotFound, LayerNotFound, UnitsNotFound))
def read_units(run_id: RunId, layer_id: LayerId, store: StoreDep, step: StepQuery = None) -> curves.Units:
    """Per-unit statistics of the record at or before ``step``; of the latest without one."""
    with store.read() as connection:
        _require(connection, run_id, layer_id)
        found = units.load(connection, run_id, layer_id, step, sessions.load(connection, run_id))
    if found is None:
        raise UnitsNotFound
    return curves.Units(
        layer_id=layer_id,
        first_step=found.first_step,
        step=found.step,
        n_examples=found.n_examples,
        n_positions=found.n_positions,
        columns={name: values.astype(float).tolist() for name, values in found.columns.items()},
    )


def ranked(connection: sa.Connection, run_id: str) -> list[views.Layer]:
    """The layers with their latest reading, those at most risk first."""
    layers = runs.load_layers(connection, run_id)
    readings = segments.latest_readings(connection, run_id, [layer.layer_id for layer in layers])
    shown = [_view(layer, readings.get(layer.layer_id)) for layer in layers]
    return sorted(shown, key=lambda layer: (-layer.risk, layer.layer_id))


def _view(layer: LayerInfo, reading: dict[str, float] | None) -> views.Layer:
    known = {} if reading is None else {n: None if math.isnan(v) else v for n, v in reading.items()}
    state, step = known.get("state"), known.get("step")
    unseen: views.LayerState = "waiting" if layer.can_die else "cannot_die"
    return views.Layer(
        **layer.model_dump(),
        state=unseen if state is None else encoding.STATES[int(state)],
        risk=known.get("risk") or 0.0,
        last_step=None if step is None else int(step),
        **{name: known.get(name) for name in SHARES},
    )


def _require(connection: sa.Connection, run_id: str, layer_id: int = 0) -> None:
    """Raises RunNotFound or LayerNotFound."""
    if runs.find(connection, run_id) is None:
        raise RunNotFound
    if layer_id and layer_id not in {layer.layer_id for layer in runs.load_layers(connection, run_id)}:
        raise LayerNotFound
