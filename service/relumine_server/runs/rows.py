"""Rows of runs as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relumine.schemas.health import Health, HealthStatus
from relumine.schemas.run import RunStatus
from relumine_server.runs.layer_pace import LayerPace


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the API describes it."""

    run_id: str
    project: str
    group_name: str | None
    name: str | None
    config: Mapping[str, Any]
    tags: list[str]
    sdk: str | None
    torch: str | None
    status: RunStatus
    started_at: datetime | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    last_step: int | None
    dropped: Mapping[str, int]
    coverage: Mapping[str, Any] | None
    watching: Mapping[str, Any] | None
    is_shared: bool
    health: HealthStatus
    health_reason: str | None
    layers_dead: int
    sampled_steps: int
    last_layer_step: int | None
    since_layer: int
    longest_without_layer: int
    unit_stat_rows: int
    final_loss: float | None
    lost_fraction: float | None
    session_first_step: int | None
    steps_per_s: float | None
    last_heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedRun(RunRow):
    """A run of a list, with the value that the list is sorted by; None where a column of the run has it."""

    sort_value: float | None


@dataclass(frozen=True, slots=True)
class LockedRun:
    """The columns that ingest and alerts need of a run whose row this transaction has locked, as it was at that moment.

    ``dropped`` counts what all its processes dropped, by reason. ``is_shared``: two trainings upload in it at once.
    ``rate_step`` and ``rate_at``: the last step of the first upload of the newest session, and when it arrived; None
    for a training that was uploaded after its end.
    """

    run_id: str
    project: str
    group_name: str | None
    name: str | None
    status: RunStatus
    finished_at: datetime | None
    last_step: int | None
    dropped: Mapping[str, int]
    is_shared: bool
    uncompacted_records: int
    detector_session: str | None
    detector_seq: int | None
    last_heartbeat_at: datetime | None
    session_first_step: int | None
    longest_gap_s: float
    unit_stat_rows: int
    unit_stat_bytes: int
    sampled_steps: int
    problem_health: HealthStatus | None
    problem_reason: str | None
    layers_dead: int
    has_open_alerts: bool
    has_stalled_alert: bool
    watching: Mapping[str, Any] | None
    rate_step: int | None = None
    rate_at: datetime | None = None
    last_layer_step: int | None = None
    since_layer: int = 0
    longest_without_layer: int = 0
    trace: bytes | None = None

    @property
    def problems(self) -> Health | None:
        """The health that the alerts of the run mean; None without any that counts."""
        if self.problem_health is None:
            return None
        return Health(status=self.problem_health, reason=self.problem_reason)

    @property
    def layer_pace(self) -> LayerPace:
        """The pace of its records of layers."""
        return LayerPace(self.last_layer_step, self.since_layer, self.longest_without_layer)
