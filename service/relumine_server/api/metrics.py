"""``GET /metrics``: what the processes counted, and what the database knows, in Prometheus' text format."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from relumine import __version__
from relumine_server.errors import ProblemError
from relumine_server.metrics import Metrics
from relumine_server.storage import figures
from relumine_server.storage.figures import Figures
from relumine_server.storage.store import Store

BELIEVED = timedelta(seconds=5)  # many may scrape; the database is asked no more often than this

router = APIRouter(tags=["health"])


class Watched:
    """What the database knows, as a collector of Prometheus'. A database that does not answer is a figure, too."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._found: Figures | None = None
        self._at: datetime | None = None

    def collect(self) -> Iterator[Metric]:
        """The figures, at most a few seconds old."""
        found = self._fresh()
        yield _gauge("relumine_build_info", "The version that runs.", ["version"], {(__version__,): 1})
        yield _gauge("relumine_database_up", "Whether the database answered.", [], {(): 0 if found is None else 1})
        if found is None:
            return
        yield _gauge("relumine_alerts", "Alerts that are not resolved.", ["state", "severity"], found.alerts)
        yield _gauge("relumine_runs", "Runs that have not ended.", ["state"], found.runs)
        yield _gauge("relumine_outbox_due", "Deliveries that are due.", [], {(): found.due})
        yield _gauge("relumine_outbox_oldest_seconds", "How long the oldest is due.", [], {(): found.oldest_s})

    def _fresh(self) -> Figures | None:
        with self._lock:
            now = self._clock()
            if self._at is None or abs(now - self._at) >= BELIEVED:
                self._found, self._at = self._read(now), now
            return self._found

    def _read(self, now: datetime) -> Figures | None:
        try:
            with self._store.read() as connection:
                return figures.load(connection, now)
        except ProblemError:
            return None


def _gauge(name: str, about: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def read_metrics(request: Request) -> Response:
    """Counters of this server, for Prometheus."""
    state = request.app.state
    counted = cast("Metrics", state.metrics)
    counted.waiting.set(state.store.waiting)
    counted.held.set(state.intake.held)
    return Response(counted.text(state.watched), media_type=CONTENT_TYPE_LATEST)
