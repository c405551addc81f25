"""The history of alerts: a line for every transition, never changed."""

from __future__ import annotations

import sqlalchemy as sa

from relumine import views
from relumine_server.storage import tables as t
from relumine_server.storage.runs import moment


def page(connection: sa.Connection, run_id: str, alert_id: str, after: int, limit: int) -> list[views.HistoryEntry]:
    """Transitions of an alert behind the one of number ``after``, the oldest first."""
    c = t.history.c
    mine = (c.run_id == run_id, c.alert_id == alert_id, c.number > after)
    rows = connection.execute(sa.select(t.history).where(*mine).order_by(c.number).limit(limit))
    return [
        views.HistoryEntry(
            number=row.number,
            at=moment(row.moved_at) or "",
            step=row.step,
            event=row.event,
            from_state=row.from_state,
            to_state=row.to_state,
            severity=row.severity,
            author=row.author,
            note=row.note,
        )
        for row in rows
    ]
