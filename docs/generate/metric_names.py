"""The table of Prometheus metrics, from the collectors of a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from unittest.mock import patch

from prometheus_client import Metric

from relumine_server.api.cached_stats import CachedStats
from relumine_server.db.stats import DatabaseStats
from relumine_server.metrics import Metrics

HEADER = "| metric | type | labels | meaning |\n|---|---|---|---|"
SUFFIX = {"counter": "_total"}
LABELS = {"relumine_requests": ("method", "route", "status"), "relumine_request_duration_seconds": ("route",)}
"""Labels of metrics that have no sample before the first request."""


def table() -> str:
    """Return one row per metric of the server itself; those of the process are Prometheus' own."""
    rows = []
    for metric in sorted(_metrics(), key=lambda metric: metric.name):
        labels = LABELS.get(metric.name, _labels(metric))
        name = metric.name + SUFFIX.get(metric.type, "")
        text = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {metric.type} | {text} | {metric.documentation.rstrip('.')} |")
    return "\n".join([HEADER, *rows])


def _metrics() -> Iterator[Metric]:
    for metric in _collected():
        if metric.name.startswith("relumine_"):
            yield metric


def _collected() -> Iterable[Metric]:
    yield from Metrics()._registry.collect()  # noqa: SLF001 - the registry is what a scrape reads
    stats = DatabaseStats(alerts={("firing", "warning"): 1}, runs={("running",): 1}, due=0, oldest_s=0.0)
    with patch.object(CachedStats, "_current", return_value=stats):
        yield from CachedStats(None, lambda: datetime.now(UTC)).collect()  # type: ignore[arg-type]  # no database is read


def _labels(metric: Metric) -> tuple[str, ...]:
    names = {label: None for sample in metric.samples for label in sample.labels if label != "le"}
    return tuple(names)
