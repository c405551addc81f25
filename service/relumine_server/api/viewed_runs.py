"""The runs that someone views: their trainings are asked to upload every second, so that the page stays live."""

from __future__ import annotations

import time

from cachetools import TTLCache

VIEWED_S = 30.0
"""Seconds after a read of its page in which a run counts as looked at. The page reads more often than that."""

FLUSH_EVERY_S = 1.0

MAX_RUNS = 10_000


class ViewedRuns:
    """The runs whose pages this process has served a moment ago. Used by the event loop alone."""

    def __init__(self) -> None:
        self._runs: TTLCache[str, None] = TTLCache(MAX_RUNS, VIEWED_S, timer=time.monotonic)

    def note(self, run_id: str) -> None:
        """Note that someone views a run."""
        self._runs[run_id] = None

    def flush_every(self, run_id: str | None) -> float | None:
        """Return the seconds between uploads to ask a run for; None while it is not looked at."""
        return FLUSH_EVERY_S if run_id in self._runs else None
