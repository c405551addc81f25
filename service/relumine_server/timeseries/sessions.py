"""Sessions of a run, and the steps that are shown of each: a newer session takes over from its first step on.

A run that resumes from a checkpoint repeats steps. What the older session recorded after the checkpoint stays stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import Upload
from relumine_server.db import tables
from relumine_server.db.dialect import insert


class SessionSpan(NamedTuple):
    """The steps ``first_step … last_step`` that are shown of a session whose first record is at ``began_at_step``.

    ``out_of_order``: some upload of the session has steps before those of an earlier upload.
    """

    session: str
    first_step: int
    last_step: int
    began_at_step: int
    out_of_order: bool


class SessionSpans(NamedTuple):
    """The spans of a run, in the order of sessions."""

    spans: list[SessionSpan]

    def includes(self, session: str, step: int) -> bool:
        """Return True if this step is shown from this session."""
        return any(span.session == session and span.first_step <= step <= span.last_step for span in self.spans)

    def clipped(self, from_step: int, to_step: int) -> SessionSpans:
        """Return the spans between two steps, both included."""
        spans = []
        for span in self.spans:
            first_step = max(span.first_step, from_step)
            last_step = min(span.last_step, to_step)
            if first_step <= last_step:
                spans.append(span._replace(first_step=first_step, last_step=last_step))
        return SessionSpans(spans)


def load_spans(connection: sa.Connection, run_id: str) -> SessionSpans:
    """Return the spans of the sessions that have records of rank 0."""
    c = tables.run_sessions.c
    query = sa.select(c.session, c.first_step, c.out_of_order).where(c.run_id == run_id, c.first_step.is_not(None))
    last_step = MAX_STEP
    spans = []
    for row in connection.execute(query.order_by(c.session.desc())):
        if row.first_step <= last_step:
            spans.append(SessionSpan(row.session, row.first_step, last_step, row.first_step, row.out_of_order))
            last_step = row.first_step - 1
    return SessionSpans(spans[::-1])


class SessionNote(NamedTuple):
    """News of a session: its first step so far, None without records; and that its uploads are out of order.

    ``client_session`` is its name without the number that the server gave it.
    """

    first_step: int | None
    out_of_order: bool
    client_session: str


def save_note(connection: sa.Connection, upload: Upload, note: SessionNote, now: datetime) -> None:
    """Insert the session of an upload, or merge the note into its row. Steps and order are those of rank 0 only."""
    is_shown = upload.rank == 0
    statement = insert(connection, tables.run_sessions).values(
        run_id=upload.run.id,
        session=upload.session,
        client_session=note.client_session,
        created_at=now,
        world_size=upload.world_size,
        first_step=note.first_step if is_shown else None,
        out_of_order=note.out_of_order and is_shown,
    )
    stored = tables.run_sessions.c
    new = statement.excluded
    first_step = sa.case(
        (stored.first_step < new.first_step, stored.first_step),
        else_=sa.func.coalesce(new.first_step, stored.first_step),
    )
    merged = {"first_step": first_step, "out_of_order": sa.or_(stored.out_of_order, new.out_of_order)}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "session"], set_=merged))
