"""Requests about runs: their layers, series, logged metrics and uploads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from relumine._client.frames import frame_of
from relumine._client.requests import MAX_EMPTY_PAGES, MAX_PAGE, parsed, without_none
from relumine._client.unit_requests import UnitRequests
from relumine._runtime.http import NOT_RELUMINE
from relumine.errors import ServerError
from relumine.schemas.chart import LoggedMetrics, LostTrace, MetricPoint, Overview, Series
from relumine.schemas.run import Layer, Run, RunCounters, RunSort
from relumine.schemas.upload import UploadResponse

# Runs in one request for traces.
MAX_RUNS = 100


class RunFilters(TypedDict, total=False):
    """Filters and order of ``runs``; None is as if it were not given."""

    project: str | None
    group: str | None
    status: str | Sequence[str] | None
    health: str | Sequence[str] | None
    tag: str | None
    q: str | None
    died_since: datetime | None
    needs_attention: bool | None
    stalled_or_unwatched: bool | None
    sort: RunSort | None


class RunRequests(UnitRequests):
    """Runs and everything stored of them."""

    def runs(self, *, limit: int | None = None, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """Return runs, newest first, at most ``limit``; pages are fetched as they are needed.

        ``q`` is a part of the id, the name or the group. ``sort`` is the order: ``name``, ``last_step``,
        ``final_loss``, ``created_at`` or ``updated_at``, each with a ``-`` in front to begin with the largest;
        ``health`` begins with the worst.

        ``status`` and ``health`` may be several. ``died_since`` keeps runs in which a layer died since that time,
        ``needs_attention`` those with an open alert of warning or above that no one has acknowledged or silenced,
        ``stalled_or_unwatched`` those that report nothing or are not being watched.
        """
        page = None if limit is None else max(1, min(limit, MAX_PAGE))
        query = {name: _query_value(value) for name, value in filters.items()}
        runs = self._items("/v1/runs", Run, **query, limit=page)
        return itertools.islice(runs, limit)

    def count_runs(
        self, *, project: str | None = None, group: str | None = None, tag: str | None = None, q: str | None = None
    ) -> RunCounters:
        """Return the numbers of runs: all, training, in need of attention, with a death in 7 days, not being seen."""
        return self._get("/v1/run-counts", RunCounters, project=project, group=group, tag=tag, q=q)

    def run_traces(self, run_ids: Sequence[str]) -> list[LostTrace]:
        """Return the lost share of the worst layer and the loss of runs over steps, in at most 48 points each."""
        traces: list[LostTrace] = []
        for begin in range(0, len(run_ids), MAX_RUNS):
            traces += self._items("/v1/run-traces", LostTrace, run_ids=",".join(run_ids[begin : begin + MAX_RUNS]))
        return traces

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return self._get(f"/v1/runs/{run_id}", Run)

    def change_run(
        self,
        run_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        status: Literal["finished", "failed"] | None = None,
    ) -> Run:
        """Rename, tag or end a run; what is None stays. Its open alerts end with it."""
        changed_tags = None if tags is None else list(tags)
        body = without_none({"name": name, "tags": changed_tags, "status": status})
        return parsed(Run, self._send("PATCH", f"/v1/runs/{run_id}", json=body))

    def delete_run(self, run_id: str) -> None:
        """Delete a run and everything stored of it. This cannot be undone."""
        self._send("DELETE", f"/v1/runs/{run_id}")

    def layers(self, run_id: str) -> list[Layer]:
        """Return the layers of a run, those at most risk first."""
        return list(self._items(f"/v1/runs/{run_id}/layers", Layer))

    def overview(self, run_id: str, *, after_step: int | None = None) -> Overview:
        """Return everything that the run's page shows, of steps after ``after_step``."""
        return self._get(f"/v1/runs/{run_id}/overview", Overview, after_step=after_step)

    def series(
        self,
        run_id: str,
        layer_id: int,
        statistics: Sequence[str],
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 1000,
    ) -> Series:
        """Return statistics of a layer over steps, at most ``points`` of them, with extremes preserved."""
        return self._get(
            f"/v1/runs/{run_id}/layers/{layer_id}/series",
            Series,
            statistics=",".join(statistics),
            from_step=from_step,
            to_step=to_step,
            points=points,
        )

    def series_frame(
        self,
        run_id: str,
        layer_id: int,
        statistics: Sequence[str],
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 1000,
    ) -> Any:
        """Return ``series`` as a ``pandas.DataFrame`` with the steps as its index.

        Each statistic has three columns: ``active_rate`` for the last value of each point, ``active_rate_min`` and
        ``active_rate_max`` for its extremes. Raises ImportError where pandas is not installed.
        """
        return frame_of(
            lambda: self.series(run_id, layer_id, statistics, from_step=from_step, to_step=to_step, points=points)
        )

    def logged_metrics(self, run_id: str, *, after_step: int | None = None) -> dict[str, list[MetricPoint]]:
        """Return the metrics that the training logged, by name, each in the order of its steps."""
        points: dict[str, dict[int, MetricPoint]] = {}
        cursor: str | None = None
        empty_pages = 0
        while empty_pages < MAX_EMPTY_PAGES:
            path = f"/v1/runs/{run_id}/metrics"
            page = self._get(path, LoggedMetrics, after_step=after_step, cursor=cursor)
            for name, of_page in page.metrics.items():
                points.setdefault(name, {}).update({point.step: point for point in of_page})
            empty_pages = 0 if page.metrics else empty_pages + 1
            cursor = page.next_cursor
            if cursor is None:
                return {name: [by_step[step] for step in sorted(by_step)] for name, by_step in points.items()}
        raise ServerError(NOT_RELUMINE)

    def export(self, run_id: str, path: str | Path) -> None:
        """Write all series of a run to a new CSV file: layer_id, layer, step, statistic, value.

        Raises FileExistsError where there is such a file. A file of an export that fails is deleted.
        """
        self._write(f"/v1/runs/{run_id}/export", path)

    def upload(self, upload: bytes | Mapping[str, Any]) -> UploadResponse:
        """Send one upload, as JSON or as its fields; docs/api.md describes them. The same upload again changes nothing.

        ``relumine.watch`` sends uploads by itself: this is for imports and tests.
        """
        if isinstance(upload, bytes):
            headers = {"content-type": "application/json"}
            return parsed(UploadResponse, self._send("POST", "/v1/uploads", content=upload, headers=headers))
        return self._post("/v1/uploads", UploadResponse, upload)


def _query_value(value: object) -> object:
    """Return a filter as the query has it: a time as text, several values separated by commas."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(value)
    return value
