"""The overviews that were read last, in memory: a page that is opened again, or by others, is not computed again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from relumine.schemas.alert import Alert
from relumine.schemas.run import Run

MAX_BYTES = 32 * 2**20
"""Bytes of all bodies together."""
MAX_BODY_BYTES = 8 * 2**20


class _Entry(NamedTuple):
    run: Run
    alerts: Sequence[Alert]
    body: bytes


class OverviewCache:
    """Bodies of whole overviews by run. Each is used only while the run and its alerts are what they were then.

    Every upload, change and transition of an alert changes one of the two. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size_bytes = 0

    def get(self, run: Run, alerts: Sequence[Alert]) -> bytes | None:
        """Return the body of the overview of a run that is still as it was; None if there is none."""
        with self._lock:
            entry = self._entries.get(run.run_id)
            if entry is None or (entry.run, entry.alerts) != (run, alerts):
                return None
            self._entries.move_to_end(run.run_id)
            return entry.body

    def put(self, run: Run, alerts: Sequence[Alert], body: bytes) -> None:
        """Keep a body in place of an earlier one of the run; those not used for longest are dropped for it."""
        with self._lock:
            self._remove(run.run_id)
            if len(body) > MAX_BODY_BYTES:
                return
            self._entries[run.run_id] = _Entry(run, alerts, body)
            self._size_bytes += len(body)
            while self._size_bytes > MAX_BYTES:
                self._remove(next(iter(self._entries)))

    def _remove(self, run_id: str) -> None:
        entry = self._entries.pop(run_id, None)
        if entry is not None:
            self._size_bytes -= len(entry.body)
