"""Routes of the units of a layer: their active rates over steps as a map, and a table of them."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from relumine.schemas import units as schema_units
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record import MAX_UNITS
from relumine.schemas.record_table import Array
from relumine_server.api import problem_details
from relumine_server.api.dependencies import ClockDep, DatabaseDep, ServicesDep
from relumine_server.api.schemas.common import LayerId, RunId, StepQuery, UnitStates
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import LayerNotFound, RunNotFound
from relumine_server.runs import repository as run_repository
from relumine_server.timeseries import sessions, unit_map, unit_table
from relumine_server.timeseries.unit_table import UnitColumns

router = APIRouter(prefix="/v1/runs/{run_id}/layers/{layer_id}", tags=["layers"], route_class=StrictQueryRoute)

CSV_CONTENT = {
    "text/csv": {
        "schema": {"type": "string"},
        "example": "unit,state,active_rate,last_active_step,peak,bias,mean,shift_weight,shift_input,shift_bias\n"
        "0,active,0.42,1200,3.1,-0.05,-0.2,0.01,0.0,-0.02\n",
    }
}
CSV_COLUMNS = ("active_rate", "last_active_step", "peak", "bias", "mean", "shift_weight", "shift_input", "shift_bias")
CSV_PART_UNITS = 4_096
"""Units that are written at once: a layer may have a million."""
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
    arranged = unit_map.arranged(step, rates, sort, first_unit, units)
    return schema_units.UnitMap(
        layer_id=layer_id,
        units=of_layer,
        first_unit=first_unit,
        unit=arranged.unit.tolist(),
        step=arranged.step.tolist(),
        active_rate=base64.b64encode(arranged.active_rate.tobytes()).decode(),
    )


@router.get(
    "/unit-table",
    response_model=schema_units.UnitTable,
    responses={200: {"content": CSV_CONTENT}, **problem_details.responses(RunNotFound, LayerNotFound)},
)
def read_unit_table(
    run_id: RunId,
    layer_id: LayerId,
    services: ServicesDep,
    clock: ClockDep,
    state: UnitStates = None,
    sort: schema_units.UnitTableSort = "state",
    first: FirstUnit = 0,
    count: Annotated[int, Query(ge=1, le=1000)] = 200,
    format: Literal["json", "csv"] = "json",  # noqa: A002 - the parameter's public name
) -> schema_units.UnitTable | StreamingResponse:
    """Read the state and the latest values of units, sorted; as CSV of all units in these states."""
    with services.database.read() as connection:
        units = run_repository.require_layer(connection, run_id, layer_id)
        detector_state = services.ingest.detector_state(connection, run_id, clock())
        states = unit_table.states_of(detector_state, layer_id, units)
        columns = unit_table.read(connection, run_id, layer_id, states)
    order = unit_table.ordered(columns, sort, unit_table.STATES if state is None else state.split(","))
    if format == "csv":
        return StreamingResponse(_csv_parts(columns, order), media_type="text/csv")
    return schema_units.UnitTable(
        layer_id=layer_id,
        units=units,
        matched=order.size,
        first=first,
        step=columns.step,
        state_counts={name: int((states == number).sum()) for number, name in enumerate(unit_table.STATES)},
        shifts=unit_table.shifts(columns),
        items=[schema_units.Unit(**row) for row in _rows(columns, order[first : first + count])],
    )


def _rows(columns: UnitColumns, order: Array) -> Iterator[dict[str, Any]]:
    """Yield units as rows, with null for what was not measured."""
    values = {name: _numbers(getattr(columns, name)[order]) for name in CSV_COLUMNS}
    steps = values["last_active_step"]
    values["last_active_step"] = [None if step is None else int(step) for step in steps]
    for row, unit in enumerate(order.tolist()):
        state = unit_table.STATES[int(columns.state[unit])]
        yield {"unit": unit, "state": state, **{name: numbers[row] for name, numbers in values.items()}}


def _numbers(values: Array) -> list[Any]:
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def _csv_parts(columns: UnitColumns, order: Array) -> Iterator[str]:
    yield ",".join(("unit", "state", *CSV_COLUMNS)) + "\n"
    for begin in range(0, order.size, CSV_PART_UNITS):
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows(row.values() for row in _rows(columns, order[begin : begin + CSV_PART_UNITS]))
        yield buffer.getvalue()
