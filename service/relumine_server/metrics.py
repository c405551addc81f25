"""Prometheus metrics of one process. ``api.cached_stats`` reads those of the database when they are scraped.

Every application has a registry of its own. If several processes serve one port, they count in the files of one folder
(``PROMETHEUS_MULTIPROC_DIR``), and any of them reports the sum.
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

DROPPED = ("buffer_full", "metrics", "spool_full", "spool_lost", "spool_unsafe", "refused", "too_large", "unreadable")
"""Reasons for which the SDK drops sampled steps. Any other reason is counted as one label: labels must be few."""

OUTCOMES = ("delivered", "rejected", "unreachable", "endpoint_gone")
"""Outcomes of a delivery attempt."""

TASKS = (
    "maintenance", "compact", "thin", "expire", "delete", "check_clock", "cancel_orphaned_deliveries",
    "trim_delivery_log",
    "evaluator", "evaluate_run", "end_abandoned_run", "delete_ended_silences",
    "dispatcher",
)  # fmt: skip
"""Background work whose failures are counted."""


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._create_request_metrics()
        self._create_upload_metrics()
        self._create_background_metrics()
        self._create_labels()
        if SHARED_FOLDER in os.environ:
            _forget_dead_processes(Path(os.environ[SHARED_FOLDER]))
        else:
            ProcessCollector(registry=self._registry)

    def _create_request_metrics(self) -> None:
        self.requests = self._counter("relumine_requests", "Requests answered.", "method", "route", "status")
        self.request_seconds = self._histogram(
            "relumine_request_duration_seconds", "Time until the response was sent.", "route"
        )
        self.problems = self._counter("relumine_problems", "Problems answered, by code.", "code")
        self.in_flight = self._gauge("relumine_requests_in_flight", "Requests in flight.")

    def _create_upload_metrics(self) -> None:
        self.uploads = self._counter("relumine_uploads", "Uploads accepted.", "outcome")
        self.records = self._counter("relumine_upload_records", "Records accepted.")
        self.upload_bytes = self._counter("relumine_upload_bytes", "Bytes of accepted uploads, decompressed.")
        self.detector_seconds = self._histogram(
            "relumine_detector_duration_seconds", "Time of the detector for an upload."
        )
        self.dropped = self._counter(
            "relumine_client_dropped_sampled_steps", "Sampled steps that SDKs report as dropped.", "reason"
        )
        self.waiting = self._gauge("relumine_write_queue_length", "Writes waiting in the queue.")
        self.held = self._gauge("relumine_inflight_upload_bytes", "Bytes of uploads in flight.")

    def _create_background_metrics(self) -> None:
        self.attempts = self._counter("relumine_delivery_attempts", "Attempts to deliver a notification.", "outcome")
        self.maintenance_failures = self._counter(
            "relumine_maintenance_failures", "Background work that failed, by task.", "task"
        )

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(name, description, labels, buckets=SECONDS, registry=self._registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        """Return a gauge that is summed over the live processes."""
        return Gauge(name, description, registry=self._registry, multiprocess_mode="livesum")

    def _create_labels(self) -> None:
        """Create every label with a zero: a rate would miss the first event otherwise."""
        labels_of = {
            self.problems: CODES, self.uploads: ("accepted", "duplicate"), self.dropped: (*DROPPED, "other"),
            self.attempts: OUTCOMES, self.maintenance_failures: TASKS,
        }  # fmt: skip
        for counter, labels in labels_of.items():
            for label in labels:
                counter.labels(label)

    def count_dropped(self, reason: str, number: int) -> None:
        """Count sampled steps that an SDK reports as dropped."""
        self.dropped.labels(reason if reason in DROPPED else "other").inc(max(number, 0))

    def text(self, more: Collector) -> bytes:
        """Return all metrics, and those of the collector ``more``, in Prometheus' text format."""
        counted: Collector = self._registry
        if SHARED_FOLDER in os.environ:
            counted = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        return generate_latest(_Joined(counted, more))


class _Joined:
    def __init__(self, *parts: Collector) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        return chain.from_iterable(part.collect() for part in self._parts)


def _forget_dead_processes(folder: Path) -> None:
    """Remove the gauges of processes that have ended; their counters stay."""
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
