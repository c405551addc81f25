"""Metrics that trainings log, such as a loss or an accuracy: one row per upload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import Upload
from relumine_server.db import tables

MAX_POINTS = 20_000
MAX_ROWS = 500
"""Points, and uploads with metrics, that one page holds; a single upload is never divided."""
MAX_READ_POINTS = 2 * MAX_POINTS
MAX_READ_UPLOADS = 2_000
"""Points and uploads that are read for one page. More overlap its steps only where many processes log the same ones."""


class PagePosition(NamedTuple):
    """The beginning of a page: its steps are those after ``after_step``.

    Where ``read_uploads`` is not 0, the page goes on with steps up to ``end_step``, of which so many uploads were read.
    """

    after_step: int = -1
    end_step: int = MAX_STEP
    read_uploads: int = 0


class MetricPage(NamedTuple):
    """Points (step, value) by name, ordered by step; ``following`` begins the next page, None after the last one."""

    points: dict[str, list[tuple[int, float]]]
    following: PagePosition | None


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


def read_page(connection: sa.Connection, run_id: str, position: PagePosition) -> MetricPage:
    """Read a page of metrics; of a metric logged twice at a step, the later value counts.

    Uploads that overlap in their steps come in several pages where they are many: then the value of the later page
    counts.
    """
    c = tables.logged_metrics.c
    after_step = position.after_step
    is_after = sa.and_(c.run_id == run_id, c.last_step > after_step)
    end = position.end_step if position.read_uploads else _end_of_page(connection, is_after)
    order = (c.session, c.rank, c.seq)
    overlapping = (is_after, c.first_step <= end)
    counts = sa.select(c.point_count).where(*overlapping).order_by(*order).offset(position.read_uploads)
    uploads, has_more = _affordable(connection.scalars(counts.limit(MAX_READ_UPLOADS + 1)).all())
    query = sa.select(c["items"]).where(*overlapping).order_by(*order).offset(position.read_uploads).limit(uploads)
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for items in connection.scalars(query):
        for step, name, value in filter(_is_point, items):
            if after_step < step <= end:
                values[name][step] = value
    following = None if end == MAX_STEP else PagePosition(after_step=end)
    if has_more:
        following = PagePosition(after_step, end, position.read_uploads + uploads)
    return MetricPage({name: sorted(points.items()) for name, points in values.items()}, following)


def _affordable(point_counts: Sequence[int]) -> tuple[int, bool]:
    """Return how many of the uploads a page reads, at least one, and whether there are more."""
    points = 0
    for number, count in enumerate(point_counts):
        points += count
        if number and (points > MAX_READ_POINTS or number == MAX_READ_UPLOADS):
            return number, True
    return len(point_counts), False


def _end_of_page(connection: sa.Connection, is_after: sa.ColumnElement[bool]) -> int:
    """Return the last step of a page; the largest step there is if everything that is left fits into it."""
    c = tables.logged_metrics.c
    query = sa.select(c.last_step, c.point_count).where(is_after).order_by(c.last_step).limit(MAX_ROWS + 1)
    rows = connection.execute(query).all()
    points = 0
    for number, row in enumerate(rows):
        points += row.point_count
        if number and (points > MAX_POINTS or number == MAX_ROWS):
            last_step: int = rows[number - 1].last_step
            return last_step
    return MAX_STEP


def _is_point(item: object) -> bool:
    """Return True for a step, a name and a value; False for what damage left of them."""
    match item:
        case [int(), str(), int() | float() | None]:
            return True
    return False
