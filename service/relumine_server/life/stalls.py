"""When silence of a run is news: after a period that fits the run's own rhythm. It never says that a run crashed.

A training that evaluates or writes checkpoints is silent now and then; what it did before it may do again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from relumine_server.detection.findings import Finding, Remedy
from relumine_server.detection.report import run_evidence
from relumine_server.detection.state import RunMemory

PATIENCE = 2.0
"""So many times the longest pause between two uploads is no stall."""
FORGOTTEN_S = 12 * 3600.0
"""After so long, half of a pause is forgotten: a night of waiting must not blind us for the rest of a month."""


class Pulse(NamedTuple):
    """When a run was last heard, and the longest pause that it is known to make, in seconds."""

    heard_at: datetime
    pause_s: float


def learned(pulse: Pulse, now: datetime) -> Pulse:
    """The pulse after one more upload of the same session."""
    gap_s = max((now - pulse.heard_at).total_seconds(), 0.0)
    return Pulse(now, max(gap_s, pulse.pause_s * math.exp2(-gap_s / FORGOTTEN_S)))


def allowed_s(pulse: Pulse, after_s: float) -> float:
    """How long the run may be silent, in seconds."""
    return max(after_s, PATIENCE * pulse.pause_s)


def is_stalled(pulse: Pulse, now: datetime, after_s: float) -> bool:
    """Whether the run has been silent for longer than it may."""
    return (now - pulse.heard_at).total_seconds() >= allowed_s(pulse, after_s)


def finding(pulse: Pulse, now: datetime, step: int, after_s: float) -> Finding:
    """What is said of a run that fell silent at ``step``."""
    evidence = run_evidence(RunMemory(), step) | {
        "heard_at": pulse.heard_at.isoformat().replace("+00:00", "Z"),
        "silent_s": (now - pulse.heard_at).total_seconds(),
        "allowed_s": allowed_s(pulse, after_s),
        "pause_s": pulse.pause_s,
    }
    remedy = Remedy("check_job", None, None, "it may be paused or waiting, or its network may be away")
    raised = Finding(0, None, "stalled", "raised", "warning", "unknown", 0.0, step, evidence)
    return replace(raised, remedies=(remedy,))
