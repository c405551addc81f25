"""The times after which the clock alone changes alerts or repeats notifications."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple


class AlertTimings(NamedTuple):
    """The times after which the clock alone changes alerts."""

    stall_timeout: timedelta
    pending_for: timedelta
    repeat_interval: timedelta
    ended_resolve_after: timedelta
    """After the end of a run, its alerts are resolved for an Alertmanager."""
    observed_since: datetime | None = None
    """Silence of a run before this time is not counted; None: all of it is."""
