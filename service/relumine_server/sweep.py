"""What becomes of alerts by the clock alone: runs that fell silent, suspicions that ripen, silences that end, repeats.

Several processes may sweep at once: each step locks one run and looks again, so that it is done once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from relumine_server import alerting
from relumine_server.alerting import Pace
from relumine_server.errors import ProblemError
from relumine_server.settings import Settings
from relumine_server.storage import due, retention, silences
from relumine_server.storage.store import Store

RUNS_AT_ONCE = 500
FORGET_AFTER = timedelta(days=30)  # silences that ended so long ago are no news to anybody

_log = structlog.get_logger(__name__)


class Sweep:
    """Works in a thread of its own (``start``), or one round at a time (``run_once``)."""

    def __init__(
        self, store: Store, settings: Settings, clock: Callable[[], datetime], *, on_told: Callable[[], None]
    ) -> None:
        self._store, self._clock, self._on_told = store, clock, on_told
        self._every_s = settings.sweep_every_s
        self._pace = Pace(
            timedelta(seconds=settings.stalled_after_s),
            timedelta(seconds=settings.stalled_grace_s),
            timedelta(seconds=settings.repeat_after_s),
        )
        self._default = retention.default(settings)
        self._awake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="relumine-sweep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Sweep now; never waits."""
        self._awake.set()

    def stop(self, timeout_s: float) -> None:
        """End after the step under way, and wait so long for it."""
        self._stopping.set()
        self._awake.set()
        self._thread.join(timeout_s)

    def run_once(self) -> int:
        """Do all that is due now; the number of alerts told."""
        now = self._clock()
        with self._store.read() as connection:
            found = due.runs(connection, self._pace.stalled_after, self._pace.grace, self._pace.repeat_after, now)
            abandoned = retention.abandoned(connection, self._default, now)
            outworn = silences.any_ended(connection, now - FORGET_AFTER)
        told = sum(self._each(found[:RUNS_AT_ONCE], self._tend))
        told += sum(self._each(abandoned[:RUNS_AT_ONCE], self._give_up))
        if outworn:
            self._store.write(partial(silences.delete_ended, before=now - FORGET_AFTER))
        if told:
            self._on_told()
        return told

    def _each(self, run_ids: list[str], step: Callable[[str], int]) -> list[int]:
        """A step for each run; one that the database refuses is put off, and holds up no other."""
        done = []
        for run_id in run_ids:
            if self._stopping.is_set():
                break
            try:
                done.append(step(run_id))
            except ProblemError as error:
                _log.warning("sweep put off", run_id=run_id, code=error.code)
        return done

    def _tend(self, run_id: str) -> int:
        return self._store.write(partial(alerting.tend, run_id=run_id, pace=self._pace, now=self._clock()))

    def _give_up(self, run_id: str) -> int:
        """A run that stalled and was never heard again has ended, as far as anybody can tell."""
        self._store.write(partial(alerting.end, run_id=run_id, outcome="failed", now=self._clock()))
        return 1

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._awake.wait(self._every_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads processes
            self._awake.clear()
            try:
                if not self._stopping.is_set():
                    self.run_once()
            except Exception:  # noqa: BLE001 - the next round tries again; nobody else would
                _log.exception("sweep failed")
