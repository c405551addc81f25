"""Numbers that trainings log, one row per upload."""

from __future__ import annotations

import sqlalchemy as sa

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


def load(connection: sa.Connection, run_id: str, *, after_step: int = -1) -> dict[str, list[tuple[int, float]]]:
    """By name, (step, value) in the order of steps; at a step logged twice the later one wins."""
    c = t.numbers.c
    query = sa.select(c["items"]).where(c.run_id == run_id, c.last_step > after_step).order_by(c.session, c.rank, c.seq)
    latest: dict[str, dict[int, float]] = {}
    for items in connection.scalars(query):
        for step, name, value in items:
            if step > after_step:
                latest.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in latest.items()}
