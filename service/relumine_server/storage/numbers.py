"""Numbers that trainings log, one row per upload."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from relumine.table import MAX_STEP
from relumine.wire import Upload
from relumine_server.storage import tables as t


def append(connection: sa.Connection, upload: Upload) -> None:
    """Store the logged numbers of an upload."""
    if not upload.numbers:
        return
    row = {
        "run_id": upload.run.id,
        "session": upload.session,
        "rank": upload.rank,
        "seq": upload.seq,
        "first_step": min(number.step for number in upload.numbers),
        "last_step": max(number.step for number in upload.numbers),
        "items": [[number.step, number.name, number.value] for number in upload.numbers],
    }
    connection.execute(sa.insert(t.numbers).values(**row))


ROWS = 500
"""Uploads whose numbers one page holds."""


class Numbers(NamedTuple):
    """By name, (step, value) in the order of steps; ``until`` is the last step of the page, None at the end."""

    points: dict[str, list[tuple[int, float]]]
    until: int | None


def load(connection: sa.Connection, run_id: str, *, after_step: int = -1) -> Numbers:
    """A page of numbers behind a step; at a step logged twice the later one wins."""
    c = t.numbers.c
    own = sa.and_(c.run_id == run_id, c.last_step > after_step)
    until = connection.scalar(sa.select(c.last_step).where(own).order_by(c.last_step).offset(ROWS).limit(1))
    end = MAX_STEP if until is None else until
    query = sa.select(c["items"]).where(own, c.first_step <= end).order_by(c.session, c.rank, c.seq)
    latest: dict[str, dict[int, float]] = {}
    for items in connection.scalars(query):
        for step, name, value in items:
            if after_step < step <= end:
                latest.setdefault(name, {})[step] = value
    return Numbers({name: sorted(points.items()) for name, points in latest.items()}, until)
