"""Looks after the database in the background: makes chunks of segments, thins unit rows, forgets what is old.

Every step is a bounded transaction through the same door as uploads, so none waits long for it. Several processes may
do it at once: each step locks the run it works on and does nothing where another was first.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog

from relumine_server.errors import ProblemError
from relumine_server.settings import Settings
from relumine_server.storage import compaction, deliveries, delivery_log, retention
from relumine_server.storage.store import Store

RUNS_AT_ONCE = 32  # compacted between two looks at the list of those that need it most

_log = structlog.get_logger(__name__)


class Caretaker:
    """Works in a thread of its own (``start``), or one round at a time (``run_once``)."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._every_s = settings.upkeep_every_s
        self._default = retention.default(settings)
        self._log_kept = timedelta(days=settings.delivery_log_days)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relumine-caretaker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the step under way, and wait so long for it."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def run_once(self) -> None:
        """Do all that is due now."""
        for task in (self._compact, self._thin, self._expire, self._call_off, self._forget):
            try:
                task()
            except ProblemError as error:
                _log.warning("upkeep put off", task=task.__name__.strip("_"), code=error.code)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s * random.uniform(0.5, 1.5)):  # noqa: S311 - spreads processes
            try:
                self.run_once()
            except Exception:  # noqa: BLE001 - the next round tries again; nobody else would
                _log.exception("upkeep failed")

    def _compact(self) -> None:
        with self._store.read() as connection:
            due = compaction.due(connection, RUNS_AT_ONCE)
        for run_id in due:
            self._until_done(partial(compaction.compact, run_id=run_id))

    def _thin(self) -> None:
        with self._store.read() as connection:
            overfull = retention.overfull(connection, self._default)
        for run in overfull:
            self._until_done(partial(retention.thin, run=run))

    def _expire(self) -> None:
        now = self._clock()
        with self._store.read() as connection:
            expired = retention.expired(connection, self._default, now)
        for run_id in expired:
            self._until_done(partial(retention.delete_expired, run_id=run_id, default=self._default, now=now))

    def _call_off(self) -> None:
        self._store.write(partial(deliveries.cancel_orphans, now=self._clock()))

    def _forget(self) -> None:
        self._until_done(partial(delivery_log.forget, now=self._clock(), after=self._log_kept))

    def _until_done(self, step: Callable[[sa.Connection], object]) -> None:
        while not self._stopping.is_set() and self._store.write(step):
            pass
