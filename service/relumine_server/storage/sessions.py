"""Which session of a run is shown where: a newer one takes over from its first step on.

A run that resumes from a checkpoint repeats steps; what came after the checkpoint in the older session stays stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine.table import MAX_STEP
from relumine.wire import Upload
from relumine_server.storage import tables as t
from relumine_server.storage.dialect import insert


class Span(NamedTuple):
    """The steps ``first … last`` of a session that the run shows; it ``began`` at the first it ever recorded.

    ``disordered``: not every upload has later steps than the one before.
    """

    session: str
    first: int
    last: int
    began: int
    disordered: bool


class Spans(NamedTuple):
    """What a run shows, in the order of sessions."""

    parts: list[Span]

    def shows(self, session: str, step: int) -> bool:
        """Whether this step is shown from this session."""
        return any(part.session == session and part.first <= step <= part.last for part in self.parts)

    def within(self, from_step: int, to_step: int) -> Spans:
        """Only what lies between two steps, both included."""
        cut = [Span(p.session, max(p.first, from_step), min(p.last, to_step), *p[3:]) for p in self.parts]
        return Spans([part for part in cut if part.first <= part.last])


def load(connection: sa.Connection, run_id: str) -> Spans:
    """The spans of a run's sessions that recorded anything on rank 0."""
    c = t.sessions.c
    query = sa.select(c.session, c.first_step, c.disordered).where(c.run_id == run_id, c.first_step.is_not(None))
    end = MAX_STEP
    parts = []
    for row in connection.execute(query.order_by(c.session.desc())):
        if row.first_step <= end:
            parts.append(Span(row.session, row.first_step, end, row.first_step, row.disordered))
            end = row.first_step - 1
    return Spans(parts[::-1])


def note(connection: sa.Connection, upload: Upload, first_step: int | None, now: datetime, *, disordered: bool) -> None:
    """Make the session known, its first step on rank 0, and that its steps do not follow its uploads."""
    shown = first_step if upload.rank == 0 else None
    row: dict[str, Any] = {"run_id": upload.run.id, "session": upload.session, "created_at": now}
    row |= {"world_size": upload.world_size, "first_step": shown, "disordered": disordered and upload.rank == 0}
    statement = insert(connection, t.sessions).values(**row)
    known, new = t.sessions.c, statement.excluded
    earlier = sa.case(
        (known.first_step < new.first_step, known.first_step),
        else_=sa.func.coalesce(new.first_step, known.first_step),
    )
    news = {"first_step": earlier, "disordered": sa.or_(known.disordered, new.disordered)}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "session"], set_=news))
