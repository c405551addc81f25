"""Units of a layer as the server answers them: a map over steps, and a table."""

from __future__ import annotations

from typing import Literal, TypeAlias

from relumine.schemas.base import View

UnitState: TypeAlias = Literal["dead", "born_dead", "dying", "rare", "active", "unknown"]
"""States of a unit, the worst first. ``rare``: active on fewer than 1 % of the examples of its moving average.
``unknown``: never active so far, on too few examples to call it born dead, or not followed by the detector."""

UnitTableSort: TypeAlias = Literal[
    "unit", "-unit", "state", "-state", "active_rate", "-active_rate", "last_active_step", "-last_active_step",
    "peak", "-peak", "bias", "-bias", "mean", "-mean", "shift_weight", "-shift_weight", "shift_input", "-shift_input",
    "shift_bias", "-shift_bias",
]  # fmt: skip
"""Orders of a table of units; ``-`` is from the largest value to the smallest. ``state`` begins with the worst."""

UnitMapSort: TypeAlias = Literal["unit", "last_active"]
"""Orders of the rows of a map: by number, or by the last step at which a unit was active, the earliest first."""


class UnitMap(View):
    """The active rates of units at recorded steps: row ``i`` is unit ``unit[i]``, column ``j`` is ``step[j]``.

    ``active_rate`` is base64 of one byte for each unit and step, row after row: 0 for a unit that was never active,
    1 to 254 for a rate up to 1, 255 without data. ``units`` is the number of units of the layer.
    """

    layer_id: int
    units: int
    first_unit: int
    unit: list[int]
    step: list[int]
    active_rate: str


class Unit(View):
    """A unit, as the latest record of its layer has it.

    ``last_active_step`` is the step of the last record in which it was active. ``peak`` is its largest pre-activation,
    ``mean`` the average one. The shifts are the change of ``mean`` since the record before, by what caused it.
    A null was not measured; a null ``last_active_step`` is of a unit that was not active in any record.
    """

    unit: int
    state: UnitState
    active_rate: float | None
    last_active_step: int | None
    peak: float | None
    bias: float | None
    mean: float | None
    shift_weight: float | None
    shift_input: float | None
    shift_bias: float | None


class StateShift(View):
    """The average shift of the mean pre-activations of the units in a state since the record before, by its cause."""

    state: UnitState
    weight: float | None
    input: float | None
    bias: float | None


class UnitTable(View):
    """A part of the units of a layer. ``matched`` is the number of those in the states that were asked for.

    ``step`` is that of the latest record with per-unit statistics, null without any. ``state_counts`` has every state,
    ``shifts`` those with measured shifts.
    """

    layer_id: int
    units: int
    matched: int
    first: int
    step: int | None
    state_counts: dict[UnitState, int]
    shifts: list[StateShift]
    items: list[Unit]
