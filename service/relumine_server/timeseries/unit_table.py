"""The table of the units of a layer: the state of each, and its values in the latest record."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, get_args

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import Array
from relumine.schemas.units import StateShift, UnitState
from relumine_server.detection import state as detection_state
from relumine_server.detection.state import DetectorState
from relumine_server.timeseries import queries, sessions, unit_stats
from relumine_server.timeseries.unit_stats import UnitStats

STATES: tuple[UnitState, ...] = get_args(UnitState)
RARE_RATE = 0.01
"""Average active rate below which a unit that lives is rare."""

SHIFT_CAUSES = ("weight", "input", "bias")
READ_COLUMNS = ("active", "silent", "max", "bias", "mean", *(f"shift_{cause}" for cause in SHIFT_CAUSES))

_STATE_OF_CODE = {
    detection_state.DYING: STATES.index("dying"),
    detection_state.DEAD: STATES.index("dead"),
    detection_state.BORN_DEAD: STATES.index("born_dead"),
}


class UnitColumns(NamedTuple):
    """Columns of a table, each of shape (units,); NaN for what was not measured. ``state`` are indices of ``STATES``.

    ``step`` is that of the latest record with per-unit statistics.
    """

    step: int | None
    state: Array
    active_rate: Array
    last_active_step: Array
    peak: Array
    bias: Array
    mean: Array
    shift_weight: Array
    shift_input: Array
    shift_bias: Array


def read(connection: sa.Connection, run_id: str, layer_id: int, states: Array) -> UnitColumns:
    """Return the table of a layer whose units have these states."""
    spans = sessions.load_spans(connection, run_id)
    stats = unit_stats.read_latest(connection, run_id, layer_id, None, spans)
    missing = np.full(states.size, np.nan)
    if stats is None:
        return UnitColumns(None, states, *[missing] * 8)
    columns = {name: _column(stats, name, states.size) for name in READ_COLUMNS}
    return UnitColumns(
        step=stats.step,
        state=states,
        active_rate=columns["active"] / stats.n_examples if stats.n_examples else missing,
        last_active_step=_last_active_steps(connection, run_id, layer_id, stats.step, columns["silent"]),
        peak=columns["max"],
        bias=columns["bias"],
        mean=columns["mean"],
        shift_weight=columns["shift_weight"],
        shift_input=columns["shift_input"],
        shift_bias=columns["shift_bias"],
    )


def shifts(columns: UnitColumns) -> list[StateShift]:
    """Return the average shift of the units in each state, of the states that have a measured one."""
    rows = []
    for number, state in enumerate(STATES):
        of_state = columns.state == number
        by_cause = {cause: _average(getattr(columns, f"shift_{cause}")[of_state]) for cause in SHIFT_CAUSES}
        if any(value is not None for value in by_cause.values()):
            rows.append(StateShift(state=state, **by_cause))
    return rows


def _average(values: Array) -> float | None:
    measured = values[np.isfinite(values)]
    return float(f"{measured.mean():.6g}") if measured.size else None


def states_of(state: DetectorState | None, layer_id: int, units: int) -> Array:
    """Return the states of the units of a layer, as the detector has them; unknown where it does not follow them."""
    states = np.full(units, STATES.index("unknown"))
    memory = None if state is None else state.layers.get(layer_id)
    if state is None or memory is None or memory.tracked_units != units:
        return states
    followed = state.units[:, memory.unit_slice]
    active = followed[detection_state.ACTIVE]
    rate = active / np.maximum(followed[detection_state.EXAMPLES], 1)
    states[active > 0] = STATES.index("active")
    states[(active > 0) & (rate < RARE_RATE)] = STATES.index("rare")
    code = np.mod(followed[detection_state.CODE], detection_state.BASELINE_OFFSET)
    for value, index in _STATE_OF_CODE.items():
        states[code == value] = index
    return states


def ordered(columns: UnitColumns, sort: str, states: Collection[str]) -> Array:
    """Return the units in some states in an order; equal ones by number, those without a value last."""
    name = sort.removeprefix("-")
    values = np.arange(columns.state.size) if name == "unit" else getattr(columns, name)
    order = np.argsort(-values if sort.startswith("-") else values, kind="stable")
    chosen = [STATES.index(state) for state in STATES if state in states]
    units: Array = order[np.isin(columns.state[order], chosen)]
    return units


def _column(stats: UnitStats, name: str, units: int) -> Array:
    values = stats.columns.get(name)
    if values is None or values.size != units:
        return np.full(units, np.nan)
    return values.astype(np.float64)


def _last_active_steps(connection: sa.Connection, run_id: str, layer_id: int, step: int, silent: Array) -> Array:
    """Return the step of the record in which each unit was last active: the silence counts back its examples."""
    steps = np.full(silent.size, np.nan)
    series = queries.read_series(connection, run_id, [layer_id], ["n_examples"], steps=(0, step)).get(layer_id)
    if series is None:
        return steps
    examples_since = np.cumsum(series["n_examples"][::-1])
    measured = np.flatnonzero(~np.isnan(silent))
    index = np.searchsorted(examples_since, silent[measured], side="right")
    is_recorded = index < examples_since.size
    steps[measured[is_recorded]] = series["step"][::-1][index[is_recorded]]
    return steps
