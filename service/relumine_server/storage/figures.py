"""What the database knows of the server's work, for whoever watches it: open alerts, and what waits in the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from relumine_server.storage.tables import alerts, deliveries, runs

OPEN = ("pending", "firing", "acknowledged", "regressed")
GOING_ON = ("running", "stalled")


class Figures(NamedTuple):
    """Open alerts by (state, severity), runs by (state,) that have not ended, deliveries that are due and for how long.

    ``oldest_s`` is how many seconds ago the oldest of them became due.
    """

    alerts: Mapping[tuple[str, str], int]
    runs: Mapping[tuple[str], int]
    due: int
    oldest_s: float


def load(connection: sa.Connection, now: datetime) -> Figures:
    """The figures of this moment; every query goes by an index, past what is over."""
    a, d, r = alerts.c, deliveries.c, runs.c
    opened = sa.select(a.state, a.severity, sa.func.count()).where(a.state.in_(OPEN)).group_by(a.state, a.severity)
    going = sa.select(r.state, sa.func.count()).where(r.state.in_(GOING_ON)).group_by(r.state)
    waiting = sa.select(sa.func.count(), sa.func.min(d.due_at)).where(d.state == "pending", d.due_at <= now)
    due, oldest = connection.execute(waiting).one()
    return Figures(
        {(state, severity): number for state, severity, number in connection.execute(opened)},
        {(state,): number for state, number in connection.execute(going)},
        due,
        0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0),
    )
