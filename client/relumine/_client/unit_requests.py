"""Requests about the units of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relumine._client.requests import Requests
from relumine.schemas.chart import Units
from relumine.schemas.units import UnitMap, UnitMapSort, UnitState, UnitTable, UnitTableSort


class UnitRequests(Requests):
    """Statistics of units: of a record, over steps, and as a table."""

    def units(self, run_id: str, layer_id: int, *, step: int | None = None) -> Units:
        """Return per-unit statistics of the record at or before ``step``; by default of the latest."""
        return self._get(f"/v1/runs/{run_id}/layers/{layer_id}/units", Units, step=step)

    def unit_map(  # noqa: PLR0913 - the parameters of the API, each by name
        self,
        run_id: str,
        layer_id: int,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 200,
        first_unit: int = 0,
        units: int = 512,
        sort: UnitMapSort = "unit",
    ) -> UnitMap:
        """Return the active rates of ``units`` units at ``points`` recorded steps, as one byte each."""
        return self._get(
            f"/v1/runs/{run_id}/layers/{layer_id}/unit-map",
            UnitMap,
            from_step=from_step,
            to_step=to_step,
            points=points,
            first_unit=first_unit,
            units=units,
            sort=sort,
        )

    def unit_table(
        self,
        run_id: str,
        layer_id: int,
        *,
        state: UnitState | Sequence[UnitState] | None = None,
        sort: UnitTableSort = "state",
        first: int = 0,
        count: int = 200,
    ) -> UnitTable:
        """Return the states and the latest values of ``count`` units from position ``first`` on, the worst first.

        ``state`` keeps units in one state, or in one of several.
        """
        states = state if state is None or isinstance(state, str) else ",".join(state)
        path = f"/v1/runs/{run_id}/layers/{layer_id}/unit-table"
        return self._get(path, UnitTable, state=states, sort=sort, first=first, count=count)

    def export_units(self, run_id: str, layer_id: int, path: str | Path) -> None:
        """Write the table of all units of a layer to a new CSV file.

        Raises FileExistsError where there is such a file. A file of an export that fails is deleted.
        """
        self._write(f"/v1/runs/{run_id}/layers/{layer_id}/unit-table?format=csv&sort=unit", path)
