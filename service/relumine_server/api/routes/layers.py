"""Routes of the layers of a run: their current state, their series, and per-unit statistics."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query

from relumine.schemas import base, chart
from relumine.schemas import run as schema_run
from relumine.schemas.limits import MAX_STEP
from relumine_server.api import problem_details
from relumine_server.api.dependencies import NOTE_VIEWED, DatabaseDep
from relumine_server.api.schemas.common import LayerId, RunId, StepQuery
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import LayerNotFound, RunNotFound, UnitsNotFound, UnknownStatistic
from relumine_server.runs import repository as run_repository
from relumine_server.runs.views import ranked_layers
from relumine_server.timeseries import downsampling, sessions, unit_stats
from relumine_server.timeseries import queries as series_queries
from relumine_server.timeseries.codec import SERIES_STATISTICS

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["layers"], route_class=StrictQueryRoute)


@router.get("/layers", responses=problem_details.responses(RunNotFound))
def list_layers(run_id: RunId, database: DatabaseDep) -> base.Page[schema_run.Layer]:
    """List the layers of a run, those at most risk first."""
    with database.read() as connection:
        run_repository.get(connection, run_id)
        return base.Page(items=ranked_layers(connection, run_id), next_cursor=None)


@router.get(
    "/layers/{layer_id}/series",
    responses=problem_details.responses(RunNotFound, LayerNotFound, UnknownStatistic),
    dependencies=[NOTE_VIEWED],
)
def read_series(
    run_id: RunId,
    layer_id: LayerId,
    database: DatabaseDep,
    statistics: Annotated[str, Query(max_length=2000)] = "active_rate,dying_fraction,dead_fraction,born_dead_fraction",
    from_step: StepQuery = None,
    to_step: StepQuery = None,
    points: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> chart.Series:
    """Read statistics over steps, downsampled to at most ``points`` points; layer 0 is the run itself."""
    names = _parse_statistics(statistics)
    steps = (from_step or 0, MAX_STEP if to_step is None else to_step)
    with database.read() as connection:
        _require_layer(connection, run_id, layer_id)
        series = series_queries.read_extremes(connection, run_id, [layer_id], names, steps=steps, points=points)
    if layer_id not in series:
        empty = {name: chart.Extremes(last=[], min=[], max=[]) for name in names}
        return chart.Series(layer_id=layer_id, step=[], statistics=empty)
    downsampled = downsampling.downsample(series[layer_id], points)
    return chart.Series(
        layer_id=layer_id,
        step=downsampling.to_ints(downsampled.step),
        statistics={name: _extremes(downsampled, name) for name in names},
    )


def _parse_statistics(text: str) -> list[str]:
    """Return the names in a comma-separated list, each once. Raises UnknownStatistic."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not set(names) <= set(SERIES_STATISTICS):
        raise UnknownStatistic(f"the statistics are {', '.join(SERIES_STATISTICS)}")
    return list(dict.fromkeys(names))


def _extremes(series: downsampling.Downsampled, name: str) -> chart.Extremes:
    return chart.Extremes(
        last=downsampling.to_json_numbers(series.last[name]),
        min=downsampling.to_json_numbers(series.min[name]),
        max=downsampling.to_json_numbers(series.max[name]),
    )


@router.get("/layers/{layer_id}/units", responses=problem_details.responses(RunNotFound, LayerNotFound, UnitsNotFound))
def read_units(run_id: RunId, layer_id: LayerId, database: DatabaseDep, step: StepQuery = None) -> chart.Units:
    """Read the per-unit statistics of the record at or before ``step``; of the latest record without it."""
    with database.read() as connection:
        _require_layer(connection, run_id, layer_id)
        spans = sessions.load_spans(connection, run_id)
        stats = unit_stats.read_latest(connection, run_id, layer_id, step, spans)
    if stats is None:
        raise UnitsNotFound
    return chart.Units(
        layer_id=layer_id,
        first_step=stats.first_step,
        step=stats.step,
        n_examples=stats.n_examples,
        n_positions=stats.n_positions,
        columns={name: values.astype(float).tolist() for name, values in stats.columns.items()},
    )


def _require_layer(connection: sa.Connection, run_id: str, layer_id: int) -> None:
    """Raise RunNotFound or LayerNotFound; layer 0, the run itself, is always there."""
    if layer_id:
        run_repository.require_layer(connection, run_id, layer_id)
    else:
        run_repository.get(connection, run_id)
