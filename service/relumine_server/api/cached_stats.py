"""Gauges read from the database for Prometheus: open alerts, runs and the outbox, at most a few seconds old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from relumine import __version__
from relumine_server.db import stats as db_stats
from relumine_server.db.database import Database
from relumine_server.db.stats import DatabaseStats
from relumine_server.errors import ProblemError

CACHE_TTL = timedelta(seconds=5)  # however many scrape, the database is asked no more often than this


class CachedStats:
    """A Prometheus collector of what the database knows; a database that does not answer is a gauge, too."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._stats: DatabaseStats | None = None
        self._read_at: datetime | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        stats = self._current()
        yield _gauge("relumine_build_info", "The version that runs.", ["version"], {(__version__,): 1})
        yield _gauge("relumine_database_up", "Whether the database answered.", [], {(): 0 if stats is None else 1})
        if stats is None:
            return
        yield _gauge("relumine_alerts", "Alerts that are not resolved.", ["state", "severity"], stats.alerts)
        yield _gauge("relumine_runs", "Runs that have not ended.", ["status"], stats.runs)
        yield _gauge("relumine_outbox_due", "Deliveries that are due.", [], {(): stats.due})
        yield _gauge("relumine_outbox_oldest_seconds", "Seconds that the oldest is overdue.", [], {(): stats.oldest_s})

    def _current(self) -> DatabaseStats | None:
        with self._lock:
            now = self._clock()
            if self._read_at is None or abs(now - self._read_at) >= CACHE_TTL:
                self._stats = self._read(now)
                self._read_at = now
            return self._stats

    def _read(self, now: datetime) -> DatabaseStats | None:
        try:
            with self._database.read() as connection:
                return db_stats.read_stats(connection, now)
        except ProblemError:
            return None


def _gauge(name: str, description: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, description, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
