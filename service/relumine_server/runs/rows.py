"""Rows of runs as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relumine.schemas.run import RunStatus


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


@dataclass(frozen=True, slots=True)
class LockedRun:
    """The columns that ingest and alerts need of a run whose row this transaction has locked, as it was at that moment.

    ``dropped`` counts what all its processes dropped, by reason. ``is_shared``: two trainings upload in it at once.
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
    has_open_alerts: bool
    has_open_stalled_alert: bool
    watching: Mapping[str, Any] | None
