"""Statistics of the database for monitoring: open alerts, runs that have not ended, due deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from relumine_server.db.tables import alert_is_open, alerts, deliveries, run_is_visible, runs

ONGOING_STATUSES = ("running", "stalled")


class DatabaseStats(NamedTuple):
    """Open alerts by (state, severity), runs that have not ended by (status,), and deliveries that are due.

    ``oldest_s`` is how many seconds ago the oldest of them became due.
    """

    alerts: Mapping[tuple[str, str], int]
    runs: Mapping[tuple[str], int]
    due: int
    oldest_s: float


def read_stats(connection: sa.Connection, now: datetime) -> DatabaseStats:
    """Return the statistics of this moment. Every query uses an index that leaves out what is over."""
    a = alerts.c
    d = deliveries.c
    r = runs.c
    open_alerts = sa.select(a.state, a.severity, sa.func.count()).where(alert_is_open).group_by(a.state, a.severity)
    ongoing_runs = (
        sa.select(r.status, sa.func.count()).where(r.status.in_(ONGOING_STATUSES), run_is_visible).group_by(r.status)
    )
    is_due = sa.and_(d.state == "pending", d.next_attempt_at <= now)
    due, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(d.next_attempt_at)).where(is_due)).one()
    return DatabaseStats(
        alerts={(state, severity): count for state, severity, count in connection.execute(open_alerts)},
        runs={(status,): count for status, count in connection.execute(ongoing_runs)},
        due=due,
        oldest_s=0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0),
    )
