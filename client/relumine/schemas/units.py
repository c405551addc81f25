"""Units of a layer as the server answers them: a map over steps."""

from __future__ import annotations

from typing import Literal, TypeAlias

from relumine.schemas.base import View

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
