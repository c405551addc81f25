"""Webhook leases: the right to make the next attempt at a webhook's deliveries, and the record of its outcome.

Each webhook has one lease. A dispatcher acquires it by a conditional UPDATE, so that a webhook never has two attempts
in flight, however many processes there are; the lease of a dispatcher that died expires. Retry times are computed in
``retry``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from relumine.schemas.webhook import DeliveryState, StatusReason
from relumine_server.db.tables import deliveries, delivery_attempts, webhook_leases, webhooks
from relumine_server.outbox import endpoints
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.outbox.retry import ORDERED_ATTEMPTS, Outcome

MAX_ERROR_CHARS = 300
LONGEST_LEASE = timedelta(minutes=10)
"""No attempt takes so long: a lease that ends later was acquired by a clock that was ahead."""

_d = deliveries.c
_lease = webhook_leases.c
_RELEASED = {"lease_owner": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class LeasedDelivery:
    """A delivery that only the owner of the lease may attempt, and its webhook as it was when it was leased."""

    delivery_id: str
    event: str
    run_id: str
    attempt: int
    """The number of the attempt to make, from 1."""
    attempts_in_cycle: int
    """Attempts made in the current cycle of the retry schedule; a redelivery begins a new cycle."""
    payload: str | None
    created_at: datetime
    lease_owner: str
    webhook: WebhookRow


class FailureStreak(NamedTuple):
    """The failed attempts at a webhook since its last success, and the time of the first of them."""

    consecutive_failures: int
    first_failure_at: datetime | None


NO_FAILURES = FailureStreak(0, None)


def acquire(connection: sa.Connection, *, now: datetime, until: datetime, limit: int) -> list[LeasedDelivery]:
    """Lease at most ``limit`` webhooks that are free and have a delivery due, in the order of their earliest one."""
    leased = []
    for webhook_id in connection.scalars(_leasable(now).limit(limit)).all():
        lease_owner = uuid4().hex
        free = sa.and_(_lease.webhook_id == webhook_id, _free(now))
        claim = sa.update(webhook_leases).where(free).values(lease_owner=lease_owner, lease_until=until)
        if connection.execute(claim).rowcount != 1:
            continue
        row = connection.execute(_next_delivery(webhook_id, now)).first()
        webhook = endpoints.find(connection, webhook_id)
        if row is None or webhook is None or not webhook.enabled:  # changed between the two statements
            _release(connection, webhook_id, lease_owner)
        else:
            leased.append(_leased_delivery(row, lease_owner, webhook))
    return leased


def any_due(connection: sa.Connection, now: datetime) -> bool:
    """Return True where a webhook could be leased now."""
    return connection.execute(_leasable(now, lock=False).limit(1)).first() is not None


def next_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """Return the earliest time after ``now`` at which a delivery becomes due."""
    later = sa.and_(_d.state == "pending", _d.next_attempt_at > now)
    due_at: datetime | None = connection.scalar(sa.select(sa.func.min(_d.next_attempt_at)).where(later))
    return due_at


def failure_streaks(connection: sa.Connection, webhook_ids: Sequence[str]) -> dict[str, FailureStreak]:
    """Return the failure streak of each of these webhooks."""
    columns = (_lease.webhook_id, _lease.consecutive_failures, _lease.first_failure_at)
    rows = connection.execute(sa.select(*columns).where(_lease.webhook_id.in_(webhook_ids)))
    return {row.webhook_id: FailureStreak(row.consecutive_failures, row.first_failure_at) for row in rows}


def release(connection: sa.Connection, leased: LeasedDelivery) -> None:
    """End a lease without an attempt."""
    _release(connection, leased.webhook.webhook_id, leased.lease_owner)


def release_all(connection: sa.Connection) -> None:
    """End every lease. Only for a process that is the only one: after a crash its own leases are left."""
    connection.execute(sa.update(webhook_leases).where(_lease.lease_owner.is_not(None)).values(**_RELEASED))


def reset_failures(connection: sa.Connection, webhook_id: str, now: datetime) -> None:
    """Clear the failures of a webhook that was enabled or given a new URL, and make its waiting retries due now."""
    cleared = {"consecutive_failures": 0, "first_failure_at": None, "paused_until": None}
    connection.execute(sa.update(webhook_leases).where(_lease.webhook_id == webhook_id).values(**cleared))
    _retry_now(connection, webhook_id, now)


def record_attempt(
    connection: sa.Connection,
    leased: LeasedDelivery,
    outcome: Outcome,
    *,
    started_at: datetime,
    next_attempt_at: datetime | None,
    paused_until: datetime | None,
) -> FailureStreak | None:
    """Store an attempt and the new state of its delivery, end the lease, and return the webhook's failure streak.

    Returns None and changes nothing where the lease was lost: the dispatcher that leased the webhook since counts the
    delivery. A delivery that was cancelled during the attempt stays cancelled, unless the attempt succeeded.
    """
    webhook_id = leased.webhook.webhook_id
    owned = sa.and_(_lease.webhook_id == webhook_id, _lease.lease_owner == leased.lease_owner)
    previous = connection.execute(sa.select(webhook_leases).where(owned).with_for_update()).first()
    if previous is None:
        return None
    streak = _streak_after(previous, outcome, started_at)
    pause = None if outcome.delivered else paused_until or previous.paused_until
    failures = {"consecutive_failures": streak.consecutive_failures, "first_failure_at": streak.first_failure_at}
    released = {**_RELEASED, **failures, "paused_until": pause}
    connection.execute(sa.update(webhook_leases).where(owned).values(**released))
    _store_attempt(connection, leased, outcome, started_at, next_attempt_at)
    if outcome.delivered and previous.consecutive_failures >= ORDERED_ATTEMPTS:
        _retry_now(connection, webhook_id, started_at)
    return streak


def _streak_after(previous: sa.Row[Any], outcome: Outcome, started_at: datetime) -> FailureStreak:
    if outcome.delivered:
        return NO_FAILURES
    return FailureStreak(previous.consecutive_failures + 1, previous.first_failure_at or started_at)


def _store_attempt(
    connection: sa.Connection,
    leased: LeasedDelivery,
    outcome: Outcome,
    started_at: datetime,
    next_attempt_at: datetime | None,
) -> None:
    this = _d.delivery_id == leased.delivery_id
    counted = {
        "attempt_count": leased.attempt,
        "attempts_in_cycle": leased.attempts_in_cycle + 1,
        "updated_at": started_at,
    }
    if connection.execute(sa.update(deliveries).where(this).values(**counted)).rowcount == 0:
        return  # its run was deleted during the attempt, with all deliveries
    state, reason = _state_after(outcome, next_attempt_at)
    changed: dict[str, Any] = {"state": state, "status_reason": reason}
    if next_attempt_at is not None:
        changed["next_attempt_at"] = next_attempt_at
    changeable = _d.state.in_(["pending", "cancelled"] if outcome.delivered else ["pending"])
    connection.execute(sa.update(deliveries).where(this, changeable).values(**changed))
    connection.execute(sa.insert(delivery_attempts).values(_attempt_values(leased, outcome, started_at)))


def _state_after(outcome: Outcome, next_attempt_at: datetime | None) -> tuple[DeliveryState, StatusReason | None]:
    if outcome.delivered:
        return "delivered", None
    if next_attempt_at is not None:
        return "pending", None
    if outcome.endpoint_gone:
        return "failed", "endpoint_gone"
    return "failed", "attempts_exhausted"


def _retry_now(connection: sa.Connection, webhook_id: str, now: datetime) -> None:
    """Make waiting retries due now, because the endpoint works again."""
    waiting = sa.and_(
        _d.webhook_id == webhook_id, _d.state == "pending", _d.attempts_in_cycle > 0, _d.next_attempt_at > now
    )
    connection.execute(sa.update(deliveries).where(waiting).values(next_attempt_at=now))


def _release(connection: sa.Connection, webhook_id: str, lease_owner: str) -> None:
    owned = sa.and_(_lease.webhook_id == webhook_id, _lease.lease_owner == lease_owner)
    connection.execute(sa.update(webhook_leases).where(owned).values(**_RELEASED))


def _free(now: datetime) -> sa.ColumnElement[bool]:
    is_over = sa.or_(_lease.lease_until < now, _lease.lease_until > now + LONGEST_LEASE)
    return sa.or_(_lease.lease_until.is_(None), is_over)


def _leasable(now: datetime, *, lock: bool = True) -> sa.Select[Any]:
    """Select enabled webhooks that are free and have a delivery due, skipping rows that another dispatcher locked."""
    earliest = (
        sa.select(sa.func.min(_d.next_attempt_at))
        .where(_due(now), _d.webhook_id == _lease.webhook_id)
        .correlate(webhook_leases)
    )
    query = (
        sa.select(_lease.webhook_id)
        .join(webhooks, webhooks.c.webhook_id == _lease.webhook_id)
        .where(webhooks.c.enabled, _free(now), earliest.scalar_subquery().is_not(None))
        .order_by(earliest.scalar_subquery(), _lease.webhook_id)
    )
    return query.with_for_update(of=webhook_leases, skip_locked=True) if lock else query


def _due(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a delivery may be sent, for a query that contains its webhook's lease.

    While an earlier delivery is in its first attempts the later ones wait behind it, and all of them wait while the
    endpoint asked for a pause. A test waits for neither: it is to show whether the endpoint works again.
    """
    earlier = deliveries.alias("earlier")
    blocked = sa.exists().where(
        earlier.c.webhook_id == _d.webhook_id,
        earlier.c.state == "pending",
        earlier.c.delivery_id < _d.delivery_id,
        earlier.c.attempts_in_cycle.between(1, ORDERED_ATTEMPTS - 1),
        earlier.c.next_attempt_at > now,
    )
    is_test = _d.event == "webhook.test"
    paused = sa.and_(_lease.paused_until.is_not(None), _lease.paused_until > now)
    return sa.and_(_d.state == "pending", _d.next_attempt_at <= now, sa.or_(is_test, ~sa.or_(blocked, paused)))


def _next_delivery(webhook_id: str, now: datetime) -> sa.Select[Any]:
    """Select the first delivery of a webhook that may be sent."""
    counts = (_d.attempt_count, _d.attempts_in_cycle)
    return (
        sa.select(_d.delivery_id, _d.event, _d.run_id, *counts, _d.payload, _d.created_at)
        .join(webhook_leases, _lease.webhook_id == _d.webhook_id)
        .where(_d.webhook_id == webhook_id, _due(now))
        .order_by(_d.delivery_id)
        .limit(1)
    )


def _leased_delivery(row: sa.Row[Any], lease_owner: str, webhook: WebhookRow) -> LeasedDelivery:
    return LeasedDelivery(
        delivery_id=row.delivery_id,
        event=row.event,
        run_id=row.run_id,
        attempt=row.attempt_count + 1,
        attempts_in_cycle=row.attempts_in_cycle,
        payload=row.payload,
        created_at=row.created_at,
        lease_owner=lease_owner,
        webhook=webhook,
    )


def _attempt_values(leased: LeasedDelivery, outcome: Outcome, started_at: datetime) -> dict[str, Any]:
    error = outcome.error
    body = outcome.response_body
    return {
        "delivery_id": leased.delivery_id,
        "attempt": leased.attempt,
        "attempted_at": started_at,
        "response_status": outcome.response_status,
        "duration_ms": outcome.duration_ms,
        "error": None if error is None else _storable(error)[:MAX_ERROR_CHARS],
        "response_body": None if body is None else _storable(body),
    }


def _storable(text: str) -> str:
    """Replace NUL, which Postgres does not store, and lone surrogates, which UTF-8 does not encode."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
