"""What watching takes from the training thread, in seconds; the schedule thins the looks by it."""

from __future__ import annotations

from dataclasses import dataclass

CALL_S = 2e-6
"""What torch itself takes to call a hook, or a function under a mode; it cannot be timed from inside."""


@dataclass(slots=True)
class Cost:
    """Seconds spent, and looks taken for them."""

    spent_s: float = 0.0
    samples: int = 0
