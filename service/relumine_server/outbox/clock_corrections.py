"""Corrections of what a clock that was ahead has written, so that no notification waits for a time that was wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from relumine_server.db.tables import deliveries, webhook_leases
from relumine_server.outbox.retry import LONGEST_WAIT

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead a stored time may be: the clocks of several hosts differ by seconds."""

_d = deliveries.c
_lease = webhook_leases.c


def any_from_future(connection: sa.Connection, now: datetime) -> bool:
    """Return True where a delivery or a pause was written by a clock that was ahead, and would wait for that time."""
    waiting = connection.execute(sa.select(_d.delivery_id).where(_is_from_future(now)).limit(1)).first()
    if waiting is not None:
        return True
    return (
        connection.execute(sa.select(_lease.webhook_id).where(_is_pause_from_future(now)).limit(1)).first() is not None
    )


def bring_forward(connection: sa.Connection, now: datetime) -> None:
    """Make due now what was written by a clock that was ahead, and end the pauses that such a clock set."""
    due = {"next_attempt_at": now, "updated_at": now}
    connection.execute(sa.update(deliveries).where(_is_from_future(now)).values(**due))
    cleared = {"consecutive_failures": 0, "first_failure_at": None, "paused_until": None}
    connection.execute(sa.update(webhook_leases).where(_is_pause_from_future(now)).values(**cleared))


def _is_from_future(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a delivery waits for a time that no clock that is right has set.

    A delivery without an attempt waits since its creation, one with attempts since its last change; neither waits
    longer than the retry schedule says.
    """
    written_at = sa.case((_d.attempt_count == 0, _d.created_at), else_=_d.updated_at)
    is_ahead = written_at > now + CLOCK_TOLERANCE
    is_beyond_schedule = _d.next_attempt_at > now + LONGEST_WAIT + CLOCK_TOLERANCE
    return sa.and_(_d.state == "pending", _d.next_attempt_at > now, sa.or_(is_ahead, is_beyond_schedule))


def _is_pause_from_future(now: datetime) -> sa.ColumnElement[bool]:
    failed_in_future = _lease.first_failure_at > now + CLOCK_TOLERANCE
    is_beyond_schedule = _lease.paused_until > now + LONGEST_WAIT + CLOCK_TOLERANCE
    return sa.or_(failed_in_future, is_beyond_schedule)
