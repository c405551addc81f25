"""Metrics that trainings log, such as a loss or an accuracy: one row per upload."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.record_table import MAX_STEP
from relumine.schemas.upload import Upload
from relumine_server.db import tables

MAX_ROWS = 500
"""Uploads whose metrics one page holds."""


class MetricPage(NamedTuple):
    """Points (step, value) by name, ordered by step; ``last_step`` ends the page, None where it is the last one."""

    points: dict[str, list[tuple[int, float]]]
    last_step: int | None


def append(connection: sa.Connection, upload: Upload) -> None:
    """Store the logged metrics of an upload."""
    if not upload.metrics:
        return
    steps = [metric.step for metric in upload.metrics]
    row = {
        "run_id": upload.run.id,
        "session": upload.session,
        "rank": upload.rank,
        "seq": upload.seq,
        "first_step": min(steps),
        "last_step": max(steps),
        "items": [[metric.step, metric.name, metric.value] for metric in upload.metrics],
    }
    connection.execute(sa.insert(tables.logged_metrics).values(**row))


def read_page(connection: sa.Connection, run_id: str, *, after_step: int = -1) -> MetricPage:
    """Read a page of metrics after a step; of a metric logged twice at a step, the later value counts."""
    c = tables.logged_metrics.c
    is_after = sa.and_(c.run_id == run_id, c.last_step > after_step)
    last_steps = sa.select(c.last_step).where(is_after).order_by(c.last_step)
    last_step = connection.scalar(last_steps.offset(MAX_ROWS).limit(1))
    end = MAX_STEP if last_step is None else last_step
    query = sa.select(c["items"]).where(is_after, c.first_step <= end).order_by(c.session, c.rank, c.seq)
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for items in connection.scalars(query):
        for step, name, value in filter(_is_point, items):
            if after_step < step <= end:
                values[name][step] = value
    return MetricPage({name: sorted(points.items()) for name, points in values.items()}, last_step)


def _is_point(item: object) -> bool:
    """Return True for a step, a name and a value; False for what damage left of them."""
    match item:
        case [int(), str(), int() | float() | None]:
            return True
    return False
