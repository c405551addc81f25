"""The maintenance of the database in the background: it compacts, thins, expires and trims.

Every step is a bounded transaction through the same queue as uploads, so that no upload waits long. Several processes
may do the same at once: a step locks the run it works on, and does nothing where another process was first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from relumine_server.clock import Clock, Uptime
from relumine_server.db.database import Database
from relumine_server.metrics import Metrics
from relumine_server.outbox import delivery_log
from relumine_server.outbox import enqueue as outbox
from relumine_server.periodic import PeriodicWorker
from relumine_server.runs import repository as run_repository
from relumine_server.runs import retention
from relumine_server.settings import Settings
from relumine_server.timeseries import compaction

BATCH_SIZE = 32
"""Runs compacted in one round, before the runs that need it most are selected again."""
CANDIDATES = 1_000
"""Runs that one round considers for compaction."""


class MaintenanceWorker(PeriodicWorker):
    """Does the maintenance in its thread (``start``), or one round at a time (``run_once``)."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        uptime: Uptime | None = None,
    ) -> None:
        super().__init__("maintenance", settings.maintenance_interval_s, metrics or Metrics())
        self._database = database
        self._clock = clock
        self._uptime = uptime
        self.last_round_at: datetime | None = None
        """When this process last finished a round; None before the first."""
        self._default_retention = retention.default(settings)
        self._delivery_retention = timedelta(days=settings.delivery_retention_days)

    def run_once(self) -> None:
        """Do everything that is due now; a task that fails does not stop the next one."""
        self._isolate("compact", self._compact)
        self._isolate("thin", self._thin)
        self._isolate("cancel_orphaned_deliveries", self._cancel_orphaned_deliveries)
        if self._isolate("check_clock", self._may_delete_by_age):
            self._isolate("expire", self._expire)
            self._isolate("trim_delivery_log", self._trim_delivery_log)
        self._isolate("delete", self._delete)
        self.last_round_at = self._clock()

    def _may_delete_by_age(self) -> bool:
        with self._database.read() as connection:
            return retention.may_delete_by_age(connection, self._uptime, self._clock())

    def _round(self) -> None:
        self.run_once()

    def _compact(self) -> None:
        with self._database.read() as connection:
            run_ids = compaction.due(connection, CANDIDATES)
        self._for_each_run("compact", run_ids, self._compact_run, limit=BATCH_SIZE)

    def _compact_run(self, run_id: str) -> int:
        return self._repeat(partial(compaction.compact, run_id=run_id))

    def _thin(self) -> None:
        with self._database.read() as connection:
            runs = {run.run_id: run for run in retention.overfull(connection, self._default_retention)}
        self._for_each_run("thin", runs, lambda run_id: self._repeat(partial(retention.thin, run=runs[run_id])))

    def _expire(self) -> None:
        now = self._clock()
        default = self._default_retention
        with self._database.read() as connection:
            run_ids = retention.expired(connection, default, now)
        mark = partial(retention.mark_expired, default=default, now=now)
        self._for_each_run("expire", run_ids, lambda run_id: self._database.write(partial(mark, run_id=run_id)))

    def _delete(self) -> None:
        """Delete the runs that have expired, and what an interrupted deletion left."""
        with self._database.read() as connection:
            run_ids = run_repository.marked_deleted(connection)
        self._for_each_run("delete", run_ids, self._delete_run)

    def _delete_run(self, run_id: str) -> int:
        return self._repeat(partial(retention.delete_batch, run_id=run_id))

    def _cancel_orphaned_deliveries(self) -> None:
        self._database.write(partial(outbox.cancel_orphans, now=self._clock()))

    def _trim_delivery_log(self) -> None:
        self._repeat(partial(delivery_log.delete_old, now=self._clock(), retention=self._delivery_retention))

    def _repeat(self, step: Callable[[sa.Connection], object]) -> int:
        """Repeat a step, each time in a transaction, until it has nothing left to do; return how often it had."""
        count = 0
        while not self.is_stopping and self._database.write(step):
            count += 1
        return count
