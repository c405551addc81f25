"""The log of deliveries: what was sent to a webhook, try by try. Read, sent again, and cleared after a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relumine.receivers import Attempt, Delivery
from relumine_server.storage.deliveries import id_before
from relumine_server.storage.runs import moment
from relumine_server.storage.tables import attempts, deliveries

PIECE = 500  # deliveries that one transaction forgets at most: uploads wait for it

_c = deliveries.c
_SHOWN: sa.Select[Any] = sa.select(*(column for column in _c if column.name not in {"subject", "payload"}))


def page(
    connection: sa.Connection, webhook_id: str, *, own: str | None, state: str | None, before: str | None, limit: int
) -> list[Delivery]:
    """Deliveries of a webhook with their attempts, newest first, from behind the one with the id ``before`` on.

    With a project ``own`` without what the webhook was sent while it was another project's.
    """
    query = _SHOWN.where(_c.webhook_id == webhook_id).order_by(_c.delivery_id.desc()).limit(limit)
    if own is not None:
        query = query.where(_c.project.in_(["", own]))
    if state is not None:
        query = query.where(_c.state == state)
    if before is not None:
        query = query.where(_c.delivery_id < before)
    return _views(connection, connection.execute(query).all())


def find(connection: sa.Connection, delivery_id: str) -> Delivery | None:
    """One delivery with its attempts."""
    rows = connection.execute(_SHOWN.where(_c.delivery_id == delivery_id)).all()
    return _views(connection, rows)[0] if rows else None


def row_of(connection: sa.Connection, delivery_id: str) -> sa.Row[Any] | None:
    """A delivery that nobody else moves until the transaction ends."""
    return connection.execute(_SHOWN.where(_c.delivery_id == delivery_id).with_for_update()).first()


def send_again(connection: sa.Connection, delivery_id: str, now: datetime) -> None:
    """Make a delivery that ended due again, from the beginning of the schedule; its attempts are counted on."""
    again = {"state": "pending", "reason": None, "due_at": now, "tried": 0, "updated_at": now}
    connection.execute(sa.update(deliveries).where(_c.delivery_id == delivery_id).values(**again))


def forget(connection: sa.Connection, now: datetime, after: timedelta) -> bool:
    """Clear a piece of the log: what was written so long ago and is over. Says whether there may be more."""
    old = sa.and_(_c.state != "pending", _c.delivery_id < id_before(now - after))
    found = connection.scalars(sa.select(_c.delivery_id).where(old).order_by(_c.delivery_id).limit(PIECE)).all()
    if found:
        connection.execute(sa.delete(attempts).where(attempts.c.delivery_id.in_(found)))
        connection.execute(sa.delete(deliveries).where(_c.delivery_id.in_(found)))
    return len(found) == PIECE


def _views(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Delivery]:
    tries: dict[str, list[Attempt]] = {row.delivery_id: [] for row in rows}
    a = attempts.c
    query = sa.select(attempts).where(a.delivery_id.in_(tries)).order_by(a.delivery_id, a.attempt)
    for row in connection.execute(query) if tries else ():
        tries[row.delivery_id].append(_attempt(row))
    return [_view(row, tries[row.delivery_id]) for row in rows]


def _view(row: sa.Row[Any], tries: list[Attempt]) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        webhook_id=row.webhook_id,
        event=row.event,
        run_id=row.run_id or None,
        project=row.project or None,
        alerts=row.alerts,
        state=row.state,
        reason=row.reason,
        due_at=moment(row.due_at) if row.state == "pending" else None,
        created_at=moment(row.created_at) or "",
        updated_at=moment(row.updated_at) or "",
        attempts=tries,
    )


def _attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        attempted_at=moment(row.attempted_at) or "",
        status=row.status,
        duration_ms=row.duration_ms,
        error=row.error,
        answer=row.answer,
    )
