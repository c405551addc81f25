"""The log of deliveries and their attempts: read, redelivered, and cleared after the retention period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relumine.schemas.base import rfc3339
from relumine.schemas.webhook import Attempt, Delivery
from relumine_server.db import keyset
from relumine_server.db.tables import deliveries, delivery_attempts, webhooks
from relumine_server.outbox.enqueue import first_id

BATCH_SIZE = 500  # deliveries deleted in one transaction at most, because uploads wait for it

_d = deliveries.c
_SUMMARY: sa.Select[Any] = sa.select(*(column for column in _d if column.name not in {"alert_refs", "payload"}))


def page(
    connection: sa.Connection,
    webhook_id: str,
    *,
    project: str | None,
    state: str | None,
    position: Sequence[str] | None,
    limit: int,
) -> list[Delivery]:
    """Return a page of deliveries with their attempts, newest first, and one more; ``position`` is (delivery_id,).

    With ``project`` only deliveries of this project: the webhook may have belonged to another one earlier.
    """
    deliveries_of_webhook = _SUMMARY.where(_d.webhook_id == webhook_id)
    query = keyset.page(deliveries_of_webhook, (_d.delivery_id,), position, limit, descending=True)
    query = _of_project(query, project)
    if state is not None:
        query = query.where(_d.state == state)
    return _with_attempts(connection, connection.execute(query).all())


def newest(connection: sa.Connection, webhook_ids: Sequence[str], project: str | None) -> dict[str, Delivery]:
    """Return the newest delivery of each of these webhooks that has one, of the project only where there is one."""
    w = webhooks.c.webhook_id
    query = sa.select(sa.func.max(_d.delivery_id)).where(_d.webhook_id == w).correlate(webhooks)
    newest_id = _of_project(query, project).scalar_subquery()  # by webhook: the index has it as its last entry
    ids = connection.scalars(sa.select(newest_id).where(w.in_(webhook_ids))).all()  # None for a webhook without any
    rows = connection.execute(
        _SUMMARY.where(_d.delivery_id.in_([delivery_id for delivery_id in ids if delivery_id]))
    ).all()
    return {delivery.webhook_id: delivery for delivery in _with_attempts(connection, rows)}


def pending_counts(connection: sa.Connection, webhook_ids: Sequence[str], project: str | None) -> dict[str, int]:
    """Return the number of pending deliveries of each of these webhooks that has any."""
    query = sa.select(_d.webhook_id, sa.func.count()).where(_d.webhook_id.in_(webhook_ids), _d.state == "pending")
    rows = connection.execute(_of_project(query, project).group_by(_d.webhook_id))
    return {webhook_id: int(count) for webhook_id, count in rows}


def find(connection: sa.Connection, delivery_id: str) -> Delivery | None:
    """Return one delivery with its attempts, or None."""
    rows = connection.execute(_SUMMARY.where(_d.delivery_id == delivery_id)).all()
    return _with_attempts(connection, rows)[0] if rows else None


def payload(connection: sa.Connection, delivery_id: str) -> str | None:
    """Return the body of a delivery's requests, or None where it has not been rendered."""
    return connection.scalar(sa.select(_d.payload).where(_d.delivery_id == delivery_id))


def lock(connection: sa.Connection, delivery_id: str) -> sa.Row[Any] | None:
    """Return the row of a delivery, or None; no other transaction changes it until this one ends."""
    return connection.execute(_SUMMARY.where(_d.delivery_id == delivery_id).with_for_update()).first()


def reschedule(connection: sa.Connection, delivery_id: str, now: datetime) -> None:
    """Make a finished delivery due again, from the beginning of the retry schedule. Its attempts are counted on."""
    pending = {
        "state": "pending",
        "status_reason": None,
        "next_attempt_at": now,
        "attempts_in_cycle": 0,
        "updated_at": now,
    }
    connection.execute(sa.update(deliveries).where(_d.delivery_id == delivery_id).values(**pending))


def hasten(connection: sa.Connection, delivery_id: str, now: datetime) -> None:
    """Make a pending delivery due at once, if it is not. Its attempts and their schedule stay as they are."""
    waits = sa.and_(_d.delivery_id == delivery_id, _d.state == "pending", _d.next_attempt_at > now)
    connection.execute(sa.update(deliveries).where(waits).values(next_attempt_at=now, updated_at=now))


def delete_old(connection: sa.Connection, now: datetime, retention: timedelta) -> bool:
    """Delete a batch of finished deliveries older than ``retention``; return True where more may remain."""
    old = sa.and_(_d.state != "pending", _d.delivery_id < first_id(now - retention))
    query = sa.select(_d.delivery_id).where(old).order_by(_d.delivery_id).limit(BATCH_SIZE)
    delivery_ids = connection.scalars(query).all()
    if delivery_ids:
        attempts_of_old = delivery_attempts.c.delivery_id.in_(delivery_ids)
        connection.execute(sa.delete(delivery_attempts).where(attempts_of_old))
        connection.execute(sa.delete(deliveries).where(_d.delivery_id.in_(delivery_ids)))
    return len(delivery_ids) == BATCH_SIZE


def _of_project(query: sa.Select[Any], project: str | None) -> sa.Select[Any]:
    return query if project is None else query.where(_d.project.in_(["", project]))


def _with_attempts(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Delivery]:
    attempts: dict[str, list[Attempt]] = {row.delivery_id: [] for row in rows}
    if attempts:
        a = delivery_attempts.c
        query = sa.select(delivery_attempts).where(a.delivery_id.in_(attempts)).order_by(a.delivery_id, a.attempt)
        for row in connection.execute(query):
            attempts[row.delivery_id].append(_attempt(row))
    return [_delivery(row, attempts[row.delivery_id]) for row in rows]


def _delivery(row: sa.Row[Any], attempts: list[Attempt]) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        webhook_id=row.webhook_id,
        event=row.event,
        run_id=row.run_id or None,
        project=row.project or None,
        alert_count=row.alert_count,
        state=row.state,
        status_reason=row.status_reason,
        next_attempt_at=rfc3339(row.next_attempt_at) if row.state == "pending" else None,
        created_at=rfc3339(row.created_at),
        updated_at=rfc3339(row.updated_at),
        attempts=attempts,
    )


def _attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        attempted_at=rfc3339(row.attempted_at),
        response_status=row.response_status,
        duration_ms=row.duration_ms,
        error=row.error,
        response_body=row.response_body,
    )
