"""Routes of the units of a layer: their active rates over steps, as a map."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Query

from relumine.schemas import units as schema_units
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record import MAX_UNITS
from relumine_server.api import problem_details
from relumine_server.api.dependencies import DatabaseDep
from relumine_server.api.schemas.common import LayerId, RunId, StepQuery
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import LayerNotFound, RunNotFound
from relumine_server.runs import repository as run_repository
from relumine_server.timeseries import sessions, unit_map

router = APIRouter(prefix="/v1/runs/{run_id}/layers/{layer_id}", tags=["layers"], route_class=StrictQueryRoute)

FirstUnit = Annotated[int, Query(ge=0, lt=MAX_UNITS)]


@router.get("/unit-map", responses=problem_details.responses(RunNotFound, LayerNotFound))
def read_unit_map(
    run_id: RunId,
    layer_id: LayerId,
    database: DatabaseDep,
    from_step: StepQuery = None,
    to_step: StepQuery = None,
    points: Annotated[int, Query(ge=1, le=400)] = 200,
    first_unit: FirstUnit = 0,
    units: Annotated[int, Query(ge=1, le=2048)] = 512,
    sort: schema_units.UnitMapSort = "unit",
) -> schema_units.UnitMap:
    """Read the active rate of units at recorded steps, evenly chosen, as one byte each."""
    with database.read() as connection:
        of_layer = run_repository.require_layer(connection, run_id, layer_id)
        spans = sessions.load_spans(connection, run_id).clipped(
            from_step or 0, MAX_STEP if to_step is None else to_step
        )
        step, rates = unit_map.read(connection, run_id, (layer_id, of_layer), spans, points)
    shown = unit_map.arranged(step, rates, sort, first_unit, units)
    return schema_units.UnitMap(
        layer_id=layer_id,
        units=of_layer,
        first_unit=first_unit,
        unit=shown.unit.tolist(),
        step=shown.step.tolist(),
        active_rate=base64.b64encode(shown.active_rate.tobytes()).decode(),
    )
