"""What a process counts for Prometheus. No queries here, and no HTTP: what the database knows is read at the scrape.

Every application has a registry of its own. Where several processes serve one port, they count in the files of one
folder (``PROMETHEUS_MULTIPROC_DIR``), and whichever of them is asked tells the sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from relumine_server.errors import CODES

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name for it
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

DROPPED = ("buffer_full", "numbers", "spool_full", "spool_lost", "refused")
"""Of the SDK, why it dropped something; whatever else a client says is one label: labels must be few."""

OUTCOMES = ("delivered", "refused", "no_answer", "gone")
"""Of an attempt to deliver."""


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        own = self._own = CollectorRegistry()
        self.requests = Counter("relumine_requests", "Requests answered.", ("method", "route", "status"), registry=own)
        self.request_seconds = Histogram(
            "relumine_request_seconds", "Time until an answer was sent.", ("route",), buckets=SECONDS, registry=own
        )
        self.refused = Counter("relumine_refused", "Problems answered, by code.", ("code",), registry=own)
        self.uploads = Counter("relumine_uploads", "Uploads taken.", ("outcome",), registry=own)
        self.records = Counter("relumine_upload_records", "Records taken.", registry=own)
        self.upload_bytes = Counter("relumine_upload_bytes", "Bytes of uploads taken, decoded.", registry=own)
        self.detector_seconds = Histogram(
            "relumine_detector_seconds", "Time of the detector in an upload.", buckets=SECONDS, registry=own
        )
        self.dropped = Counter(
            "relumine_client_dropped_looks", "Looks that trainings report as dropped.", ("reason",), registry=own
        )
        self.attempts = Counter(
            "relumine_delivery_attempts", "Attempts to deliver a notification.", ("outcome",), registry=own
        )
        self.under_way = _sum("relumine_requests_under_way", "Requests that wait for an answer.", own)
        self.waiting = _sum("relumine_writes_waiting", "Writes in the queue.", own)
        self.held = _sum("relumine_intake_bytes", "Bytes of uploads under way.", own)
        self._begin()
        if SHARED_FOLDER in os.environ:
            _forget_the_dead(Path(os.environ[SHARED_FOLDER]))
        else:
            ProcessCollector(registry=own)

    def _begin(self) -> None:
        """A rate needs a zero to begin with: the first event would be lost on it."""
        begun = {
            self.refused: CODES, self.uploads: ("accepted", "duplicate"), self.dropped: (*DROPPED, "other"),
            self.attempts: OUTCOMES,
        }  # fmt: skip
        for counter, labels in begun.items():
            for label in labels:
                counter.labels(label)

    def count_dropped(self, reason: str, number: int) -> None:
        """Count what a training says that it dropped."""
        self.dropped.labels(reason if reason in DROPPED else "other").inc(max(number, 0))

    def text(self, more: Collector) -> bytes:
        """Everything that was counted, and what ``more`` knows, in Prometheus' text format."""
        counted: Collector = self._own
        if SHARED_FOLDER in os.environ:
            counted = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        return generate_latest(_Joined(counted, more))


class _Joined:
    def __init__(self, *parts: Collector) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        return chain.from_iterable(part.collect() for part in self._parts)


def _sum(name: str, about: str, registry: CollectorRegistry) -> Gauge:
    """A number that holds for now, summed over the processes that live."""
    return Gauge(name, about, registry=registry, multiprocess_mode="livesum")


def _forget_the_dead(folder: Path) -> None:
    """What holds for now holds no longer for processes that ended; what they counted stays counted."""
    for pid in set(_pids(folder)):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue


def _pids(folder: Path) -> Iterator[int]:
    for file in folder.glob("gauge_livesum_*.db"):
        yield int(file.stem.rsplit("_", 1)[1])
