"""Metrics that trainings log, such as a loss or an accuracy: one row per upload."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import Upload
from relumine_server.db import tables

MAX_POINTS = 20_000
MAX_ROWS = 500
"""Points, and uploads with metrics, that one page holds; a single upload is never divided."""
MAX_OVERLAPPING = 2_000
"""Uploads whose steps overlap those of a page. More than their neighbours do only where steps are not in order."""


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
        "point_count": len(upload.metrics),
        "items": [[metric.step, metric.name, metric.value] for metric in upload.metrics],
    }
    connection.execute(sa.insert(tables.logged_metrics).values(**row))


def read_page(connection: sa.Connection, run_id: str, *, after_step: int = -1) -> MetricPage:
    """Read a page of metrics after a step; of a metric logged twice at a step, the later value counts."""
    c = tables.logged_metrics.c
    is_after = sa.and_(c.run_id == run_id, c.last_step > after_step)
    last_step = _end_of_page(connection, is_after)
    end = MAX_STEP if last_step is None else last_step
    query = sa.select(c["items"]).where(is_after, c.first_step <= end).order_by(c.session, c.rank, c.seq)
    query = query.limit(MAX_OVERLAPPING)
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for items in connection.scalars(query):
        for step, name, value in filter(_is_point, items):
            if after_step < step <= end:
                values[name][step] = value
    return MetricPage({name: sorted(points.items()) for name, points in values.items()}, last_step)


def _end_of_page(connection: sa.Connection, is_after: sa.ColumnElement[bool]) -> int | None:
    """Return the last step of a page; None if everything that is left fits into it."""
    c = tables.logged_metrics.c
    query = sa.select(c.last_step, c.point_count).where(is_after).order_by(c.last_step).limit(MAX_ROWS + 1)
    rows = connection.execute(query).all()
    points = 0
    for number, row in enumerate(rows):
        points += row.point_count
        if number and (points > MAX_POINTS or number == MAX_ROWS):
            last_step: int = rows[number - 1].last_step
            return last_step
    return None


def _is_point(item: object) -> bool:
    """Return True for a step, a name and a value; False for what damage left of them."""
    match item:
        case [int(), str(), int() | float() | None]:
            return True
    return False
