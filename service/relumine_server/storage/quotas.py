"""How much a run, a project and the server may hold. What is refused is refused whole, before anything is kept of it.

Counting a large project costs, so a count with much room above it is believed for a minute: at the border every
process counts anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine.wire import Upload
from relumine_server.errors import (
    TooManyLayers,
    TooManyNumbers,
    TooManyProjects,
    TooManyRecords,
    TooManyRuns,
    TooManyUnits,
)
from relumine_server.settings import Settings
from relumine_server.storage import tables as t

BELIEVED = timedelta(minutes=1)
ROOM_RUNS, ROOM_LAYERS = 1_000, 20_000
REMEMBERED = 10_000  # projects


class _Counted(NamedTuple):
    runs: int
    layers: int
    at: datetime


class Quotas:
    """The limits of the settings, and what was counted lately."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings
        self._known: dict[str, _Counted] = {}

    def check(self, upload: Upload) -> None:
        """Raise TooManyLayers, TooManyRecords or TooManyNumbers for what is too much at once."""
        most = self._most
        if len(upload.layers) > most.max_layers_per_upload:
            raise TooManyLayers(f"at most {most.max_layers_per_upload} in an upload")
        if len(upload.records) > most.max_records_per_upload:
            raise TooManyRecords(f"at most {most.max_records_per_upload}")
        if len(upload.numbers) > most.max_numbers_per_upload:
            raise TooManyNumbers(f"at most {most.max_numbers_per_upload}")

    def admit_run(self, connection: sa.Connection, project: str, now: datetime) -> None:
        """Raise TooManyRuns or TooManyProjects where a project takes no further run."""
        if self._counted(connection, project, now).runs >= self._most.max_runs_per_project:
            raise TooManyRuns(f"at most {self._most.max_runs_per_project} in a project")
        if connection.scalar(sa.select(t.projects.c.project).where(t.projects.c.project == project)) is None:
            held = connection.scalar(sa.select(sa.func.count()).select_from(t.projects)) or 0
            if held >= self._most.max_projects:
                raise TooManyProjects(f"at most {self._most.max_projects}")

    def check_layers(self, connection: sa.Connection, run: Any, now: datetime) -> None:
        """Raise TooManyLayers or TooManyUnits where the layers of a run, written a moment ago, are too much."""
        own = sa.select(sa.func.count(), sa.func.sum(t.layers.c.units)).where(t.layers.c.run_id == run.run_id)
        layers, units = connection.execute(own).one()
        if layers > self._most.max_layers_per_run:
            raise TooManyLayers(f"at most {self._most.max_layers_per_run} in a run")
        if (units or 0) > self._most.max_units_per_run:
            raise TooManyUnits(f"at most {self._most.max_units_per_run}")
        if self._counted(connection, run.project, now).layers > self._most.max_layers_per_project:
            raise TooManyLayers(f"at most {self._most.max_layers_per_project} in a project")

    def _counted(self, connection: sa.Connection, project: str, now: datetime) -> _Counted:
        known = self._known.get(project)
        if known is None or abs(now - known.at) >= BELIEVED or not self._has_room(known):
            known = _count(connection, project, now)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[project] = known
        return known

    def _has_room(self, counted: _Counted) -> bool:
        return (
            counted.runs + ROOM_RUNS < self._most.max_runs_per_project
            and counted.layers + ROOM_LAYERS < self._most.max_layers_per_project
        )


def _count(connection: sa.Connection, project: str, now: datetime) -> _Counted:
    of_project = t.runs.c.project == project
    both = t.layers.join(t.runs, t.runs.c.run_id == t.layers.c.run_id)
    runs = connection.scalar(sa.select(sa.func.count()).select_from(t.runs).where(of_project))
    layers = connection.scalar(sa.select(sa.func.count()).select_from(both).where(of_project))
    return _Counted(runs or 0, layers or 0, now)
