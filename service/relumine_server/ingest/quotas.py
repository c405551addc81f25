"""Quotas: what a run, a project and the server may hold. An upload over a quota is refused before any of it is stored.

Counting a large project is expensive, so a count far below its limit is reused for a minute. Near the limit every
process counts again each time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from cachetools import LRUCache

from relumine.schemas.upload import LayerInfo, Upload
from relumine_server.db import tables
from relumine_server.errors import (
    TooManyLayers,
    TooManyMetrics,
    TooManyProjects,
    TooManyRecords,
    TooManyRuns,
    TooManyUnits,
)
from relumine_server.runs.rows import LockedRun
from relumine_server.settings import Settings

CACHE_TTL = timedelta(minutes=1)
CACHE_SIZE = 10_000  # projects
RUNS_MARGIN = 1_000
LAYERS_MARGIN = 20_000
"""Runs and layers below its limit from which on a project is counted each time."""


class _ProjectCounts(NamedTuple):
    runs: int
    layers: int
    counted_at: datetime


class Quotas:
    """The limits of the settings, and the latest counts of projects. It may be shared between threads."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings
        self._counts: LRUCache[str, _ProjectCounts] = LRUCache(CACHE_SIZE)
        self._lock = threading.Lock()

    @classmethod
    def default(cls) -> Quotas:
        """Return the quotas of default settings, whatever the environment says."""
        return cls(Settings.model_construct())

    def check_upload(self, upload: Upload) -> None:
        """Raise TooManyLayers, TooManyRecords or TooManyMetrics where an upload carries more than one may."""
        limits = self._limits
        if len(upload.layers) > limits.max_layers_per_upload:
            raise TooManyLayers(f"an upload may describe at most {limits.max_layers_per_upload} layers")
        if len(upload.records) > limits.max_records_per_upload:
            raise TooManyRecords(f"an upload may have at most {limits.max_records_per_upload} records")
        if len(upload.metrics) > limits.max_metrics_per_upload:
            raise TooManyMetrics(f"an upload may have at most {limits.max_metrics_per_upload} metrics")

    def has_room_for(self, layers: Sequence[LayerInfo]) -> bool:
        """Return whether these layers alone are within the limits of a run."""
        is_few = len(layers) <= self._limits.max_layers_per_run
        return is_few and sum(layer.units for layer in layers) <= self._limits.max_units_per_run

    def admit_run(self, connection: sa.Connection, project: str, now: datetime) -> None:
        """Raise TooManyRuns if the project is full, TooManyProjects if it is new and the server is full."""
        if self._counts_of(connection, project, now).runs >= self._limits.max_runs_per_project:
            raise TooManyRuns(f"a project may have at most {self._limits.max_runs_per_project} runs")
        exists = connection.scalar(sa.select(sa.exists().where(tables.projects.c.project == project)))
        if not exists:
            projects = connection.scalar(sa.select(sa.func.count()).select_from(tables.projects)) or 0
            if projects >= self._limits.max_projects:
                raise TooManyProjects(f"a server may have at most {self._limits.max_projects} projects")

    def check_layers(self, connection: sa.Connection, run: LockedRun, now: datetime) -> None:
        """Raise TooManyLayers or TooManyUnits where a run, or its project, has too many after an upload's layers."""
        query = sa.select(sa.func.count(), sa.func.sum(tables.layers.c.units))
        layers, units = connection.execute(query.where(tables.layers.c.run_id == run.run_id)).one()
        if layers > self._limits.max_layers_per_run:
            raise TooManyLayers(f"a run may have at most {self._limits.max_layers_per_run} layers")
        if (units or 0) > self._limits.max_units_per_run:
            raise TooManyUnits(f"a run may have at most {self._limits.max_units_per_run} units")
        if self._counts_of(connection, run.project, now).layers > self._limits.max_layers_per_project:
            raise TooManyLayers(f"a project may have at most {self._limits.max_layers_per_project} layers")

    def _counts_of(self, connection: sa.Connection, project: str, now: datetime) -> _ProjectCounts:
        with self._lock:
            counts = self._counts.get(project)
        # abs: a clock that was set back must not keep a count alive.
        if counts is None or abs(now - counts.counted_at) >= CACHE_TTL or not self._is_far_below_limits(counts):
            counts = _count(connection, project, now)
            with self._lock:
                self._counts[project] = counts
        return counts

    def _is_far_below_limits(self, counts: _ProjectCounts) -> bool:
        return (
            counts.runs + RUNS_MARGIN < self._limits.max_runs_per_project
            and counts.layers + LAYERS_MARGIN < self._limits.max_layers_per_project
        )


def _count(connection: sa.Connection, project: str, now: datetime) -> _ProjectCounts:
    in_project = tables.runs.c.project == project
    layers_of_runs = tables.layers.join(tables.runs, tables.runs.c.run_id == tables.layers.c.run_id)
    runs = connection.scalar(sa.select(sa.func.count()).select_from(tables.runs).where(in_project))
    layers = connection.scalar(sa.select(sa.func.count()).select_from(layers_of_runs).where(in_project))
    return _ProjectCounts(runs or 0, layers or 0, now)
