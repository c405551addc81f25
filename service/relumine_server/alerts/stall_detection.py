"""The decision that a run has stalled: it was silent for longer than its own rhythm allows. Pure.

A training that evaluates or writes checkpoints pauses now and then, so pauses of the length it has made before are
expected. A stall never means that the run crashed. What this server could not receive is no silence: every silence
counts from ``observed_since`` at the earliest (``clock.Uptime``).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

from relumine.schemas.base import rfc3339
from relumine_server.detection import remedy_code
from relumine_server.detection.findings import Finding
from relumine_server.detection.run_evidence import run_evidence
from relumine_server.detection.state import RunMemory

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead a stored time may be: the clocks of several hosts differ by seconds."""
PATIENCE_FACTOR = 2.0
"""Silence of up to this many times the longest pause between two uploads is no stall."""
GAP_HALF_LIFE_S = 12 * 3600.0
"""Time in which the remembered pause halves: a night of waiting must not hide stalls for the rest of a month."""


class Heartbeat(NamedTuple):
    """The time of a run's latest upload, and the longest pause between two of its uploads, in seconds."""

    last_at: datetime
    longest_gap_s: float


def silence_s(heartbeat: Heartbeat, now: datetime, observed_since: datetime | None) -> float:
    """Return for how many seconds the run was observed to be silent.

    A heartbeat in the future was stored by a clock that was ahead: it counts from ``observed_since``.
    """
    silent_since = heartbeat.last_at
    if observed_since is not None and (silent_since < observed_since or silent_since > now + CLOCK_TOLERANCE):
        silent_since = observed_since
    return max((now - silent_since).total_seconds(), 0.0)


def updated(heartbeat: Heartbeat, now: datetime) -> Heartbeat:
    """Return the heartbeat after one more upload of the same session."""
    gap_s = silence_s(heartbeat, now, None)
    remembered_s = heartbeat.longest_gap_s * math.exp2(-gap_s / GAP_HALF_LIFE_S)
    return Heartbeat(now, max(gap_s, remembered_s))


def stall_after_s(heartbeat: Heartbeat, timeout_s: float) -> float:
    """Return the silence after which the run counts as stalled, in seconds; at least ``timeout_s``."""
    return max(timeout_s, PATIENCE_FACTOR * heartbeat.longest_gap_s)


def is_stalled(heartbeat: Heartbeat, now: datetime, timeout_s: float, observed_since: datetime | None = None) -> bool:
    """Return True where the run has been silent for longer than it may."""
    return silence_s(heartbeat, now, observed_since) >= stall_after_s(heartbeat, timeout_s)


def finding(
    heartbeat: Heartbeat, now: datetime, step: int, timeout_s: float, observed_since: datetime | None = None
) -> Finding:
    """Return the finding for a run that stalled at ``step``."""
    evidence = run_evidence(RunMemory(), step) | {
        "last_heartbeat_at": rfc3339(heartbeat.last_at),
        "silent_s": silence_s(heartbeat, now, observed_since),
        "stall_after_s": stall_after_s(heartbeat, timeout_s),
        "longest_gap_s": heartbeat.longest_gap_s,
    }
    remedy = remedy_code.remedy(
        "check_job", remedy_code.CHECK_JOB_CODE, "it may be paused or waiting, or its network may be away"
    )
    return Finding(
        layer_id=0,
        layer=None,
        kind="stalled",
        transition="raised",
        severity="warning",
        cause="unknown",
        confidence=0.0,
        step=step,
        evidence=evidence,
        remedies=(remedy,),
    )
