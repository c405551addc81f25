"""Layers of a run: their present state, their series, their units."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query

from relumine import views
from relumine.table import MAX_STEP, RECORD_SCALARS
from relumine.wire import LayerInfo
from relumine_server.api import downsample, problems
from relumine_server.api.depends import StoreDep
from relumine_server.api.schemas import RunId, StepQuery
from relumine_server.errors import LayerNotFound, RunNotFound, UnitsNotFound, UnknownStatistic
from relumine_server.storage import runs, segments, states

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["layers"])

LayerId = Annotated[int, Path(ge=0, le=MAX_STEP)]

STATISTICS = (*RECORD_SCALARS, *segments.READING_NUMBERS)


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
) -> views.Series:
    """Statistics over steps, at most ``points`` of them; layer 0 is the run itself."""
    try:
        names = downsample.every_name(STATISTICS, statistics)
    except KeyError:
        raise UnknownStatistic(f"known are {', '.join(STATISTICS)}") from None
    with store.read() as connection:
        _require(connection, run_id, layer_id)
        end = MAX_STEP if to_step is None else to_step
        found = segments.load_series(connection, run_id, layer_id, from_step=from_step or 0, to_step=end)
    columns = found.get(layer_id)
    if columns is None or not columns["step"].size:
        return views.Series(
            layer_id=layer_id, step=[], statistics={n: views.Extremes(last=[], min=[], max=[]) for n in names}
        )
    starts = downsample.edges(columns["step"].size, points)
    return views.Series(
        layer_id=layer_id,
        step=downsample.steps(columns["step"], starts),
        statistics={name: downsample.extremes(downsample.column(columns, name), starts) for name in names},
    )


@router.get("/layers/{layer_id}/units", responses=problems.responses(RunNotFound, LayerNotFound, UnitsNotFound))
def read_units(run_id: RunId, layer_id: LayerId, store: StoreDep, step: StepQuery = None) -> views.Units:
    """Per-unit statistics of the record at or before ``step``; of the latest without one."""
    with store.read() as connection:
        _require(connection, run_id, layer_id)
        found = segments.load_units(connection, run_id, layer_id, step)
    if found is None:
        raise UnitsNotFound
    at, header, columns = found
    return views.Units(
        layer_id=layer_id,
        first_step=header["first_step"],
        step=at,
        n_examples=header["n_examples"],
        n_positions=header["n_positions"],
        columns={name: [float(value) for value in values] for name, values in columns.items()},
    )


def ranked(connection: sa.Connection, run_id: str) -> list[views.Layer]:
    """The layers with their latest reading, those at most risk first."""
    readings = states.load_readings(connection, run_id)
    shown = [_view(layer, readings.get(str(layer.layer_id))) for layer in runs.load_layers(connection, run_id)]
    return sorted(shown, key=lambda layer: (-layer.risk, layer.layer_id))


def _view(layer: LayerInfo, reading: dict[str, Any] | None) -> views.Layer:
    known = reading or {}
    return views.Layer(
        **layer.model_dump(),
        state=known.get("state") or ("waiting" if layer.can_die else "cannot_die"),
        risk=known.get("risk", 0.0),
        last_step=known.get("step"),
        active_rate=known.get("active_rate"),
        dying_fraction=known.get("dying_fraction"),
        dead_fraction=known.get("dead_fraction"),
        born_dead_fraction=known.get("born_dead_fraction"),
    )


def _require(connection: sa.Connection, run_id: str, layer_id: int = 0) -> None:
    """Raises RunNotFound or LayerNotFound."""
    if runs.find(connection, run_id) is None:
        raise RunNotFound
    if layer_id and layer_id not in {layer.layer_id for layer in runs.load_layers(connection, run_id)}:
        raise LayerNotFound
