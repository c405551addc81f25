"""What is usual: averages that fade over looks on the SDK's grid, so that a trend is measured against its own past."""

from __future__ import annotations

import math

GRID_STEPS = 10.0
"""The SDK's interval. Denser looks count for as much less; sparser ones as one, as nothing is known in between."""
SMOOTH, BRIEF, LONG = 1.5, 8.0, 30.0
"""Looks over which an average fades: one only smooths, one follows drifts, one remembers what is usual."""


def passed(gap_steps: float) -> float:
    """Looks on the grid that a gap counts for; the first look of all is one."""
    return 1.0 if math.isnan(gap_steps) else min(gap_steps / GRID_STEPS, 1.0)


def faded(before: float, now: float, looks: float, over: float, age: float = math.inf) -> float:
    """The average after ``looks`` more; while it is younger (``age``) than it fades (``over``), a plain mean.

    NaN, before or now, is nothing known.
    """
    if math.isnan(before):
        return now
    if math.isnan(now):
        return before
    share = max(1 - math.exp(-looks / over), looks / age if age < over else 0.0)
    return before + share * (now - before)
