"""Lines: the deliveries of one webhook, one after the other. The one place that says who may send, and what came of it.

A courier takes a whole line by a conditional UPDATE of its lease, so that a webhook never has two attempts under way,
whichever processes there are; a courier that died lets its lease run out. Nothing here sends, and nothing here decides
when to try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from relumine_server.storage import webhooks as webhook_rows
from relumine_server.storage.tables import attempts, deliveries, lines, webhooks
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.retry import HOLDING_TRIES, Outcome

MAX_ERROR_CHARS = 300

_d, _l = deliveries.c, lines.c


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this courier alone may attempt, and its webhook as it was when the line was taken."""

    delivery_id: str
    event: str
    run_id: str
    attempt: int
    """The number of the attempt that it was taken for; ``tried`` counts within one round of the schedule."""
    tried: int
    payload: str | None
    created_at: datetime
    holder: str
    webhook: WebhookRow


class Streak(NamedTuple):
    """How a line fares: attempts that failed since the last that did not, and the moment of the first of them."""

    failures: int
    since: datetime | None


def lease(connection: sa.Connection, *, now: datetime, until: datetime, room: int) -> list[Leased]:
    """Take lines that are free and have something due, those first that wait longest; at most ``room`` of them."""
    taken = []
    for webhook_id in connection.scalars(_ready(now).limit(room)).all():
        holder = uuid4().hex
        ours = sa.and_(_l.webhook_id == webhook_id, _free(now))
        if connection.execute(sa.update(lines).where(ours).values(holder=holder, lease_until=until)).rowcount != 1:
            continue
        row, webhook = connection.execute(_first(webhook_id, now)).first(), webhook_rows.find(connection, webhook_id)
        if row is None or webhook is None or not webhook.enabled:  # somebody was here between the statements
            _end(connection, webhook_id, holder)
        else:
            taken.append(_read(row, holder, webhook))
    return taken


def is_ready(connection: sa.Connection, now: datetime) -> bool:
    """Whether a line could be taken now."""
    return connection.execute(_ready(now, locked=False).limit(1)).first() is not None


def next_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the next delivery becomes due that is not due yet."""
    found: datetime | None = connection.scalar(
        sa.select(sa.func.min(_d.due_at)).where(_d.state == "pending", _d.due_at > now)
    )
    return found


def fares(connection: sa.Connection, webhook_ids: Sequence[str]) -> dict[str, Streak]:
    """How the lines of these webhooks fare."""
    query = sa.select(_l.webhook_id, _l.failures, _l.failing_since).where(_l.webhook_id.in_(webhook_ids))
    return {row.webhook_id: Streak(row.failures, row.failing_since) for row in connection.execute(query)}


def release(connection: sa.Connection, leased: Leased) -> None:
    """Give a line free without an attempt."""
    _end(connection, leased.webhook.webhook_id, leased.holder)


def release_all(connection: sa.Connection) -> None:
    """Give every line free: for a process that knows it is the only one, after a crash."""
    connection.execute(sa.update(lines).where(_l.holder.is_not(None)).values(holder=None, lease_until=None))


def restart(connection: sa.Connection, webhook_id: str, now: datetime) -> None:
    """Forget how a line fared: its webhook was mended. What waits for another try is due now."""
    fresh = {"failures": 0, "failing_since": None, "paused_until": None}
    connection.execute(sa.update(lines).where(_l.webhook_id == webhook_id).values(**fresh))
    _hasten(connection, webhook_id, now)


def settle(
    connection: sa.Connection,
    leased: Leased,
    outcome: Outcome,
    *,
    started_at: datetime,
    due_at: datetime | None,
    paused_until: datetime | None,
) -> Streak | None:
    """Record an attempt and what follows: delivered, due again at ``due_at``, or failed for good. Ends the lease.

    Answers how the line fares now; None, and nothing changes, where the lease was lost: then the attempt is
    another's to count. A delivery called off during the attempt keeps that state, unless it arrived.
    """
    ours = sa.and_(_l.webhook_id == leased.webhook.webhook_id, _l.holder == leased.holder)
    before = connection.execute(sa.select(lines).where(ours).with_for_update()).first()
    if before is None:
        return None
    streak = Streak(0, None) if outcome.delivered else Streak(before.failures + 1, before.failing_since or started_at)
    pause = None if outcome.delivered else paused_until or before.paused_until
    fared = {"failures": streak.failures, "failing_since": streak.since, "paused_until": pause}
    connection.execute(sa.update(lines).where(ours).values(holder=None, lease_until=None, **fared))
    _record(connection, leased, outcome, started_at, due_at)
    if outcome.delivered and before.failures >= HOLDING_TRIES:
        _hasten(connection, leased.webhook.webhook_id, started_at)
    return streak


def _record(
    connection: sa.Connection, leased: Leased, outcome: Outcome, started_at: datetime, due_at: datetime | None
) -> None:
    state = "delivered" if outcome.delivered else "pending" if due_at else "failed"
    reason = None if state != "failed" else "gone" if outcome.gone else "given_up"
    this = _d.delivery_id == leased.delivery_id
    made = {"attempt": leased.attempt, "tried": leased.tried + 1, "updated_at": started_at}
    if connection.execute(sa.update(deliveries).where(this).values(**made)).rowcount == 0:
        return  # its run was deleted meanwhile, and everything told of it
    moved = {"state": state, "reason": reason, **({"due_at": due_at} if due_at else {})}
    movable = sa.and_(this, _d.state.in_(["pending", "cancelled"] if outcome.delivered else ["pending"]))
    connection.execute(sa.update(deliveries).where(movable).values(**moved))
    connection.execute(sa.insert(attempts).values(_attempt(leased, outcome, started_at)))


def _hasten(connection: sa.Connection, webhook_id: str, now: datetime) -> None:
    """The receiver is back: what waits for another try need not wait longer."""
    later = sa.and_(_d.webhook_id == webhook_id, _d.state == "pending", _d.tried > 0, _d.due_at > now)
    connection.execute(sa.update(deliveries).where(later).values(due_at=now))


def _end(connection: sa.Connection, webhook_id: str, holder: str) -> None:
    ours = sa.and_(_l.webhook_id == webhook_id, _l.holder == holder)
    connection.execute(sa.update(lines).where(ours).values(holder=None, lease_until=None))


def _free(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(_l.lease_until.is_(None), _l.lease_until < now)


def _ready(now: datetime, *, locked: bool = True) -> sa.Select[Any]:
    """Free lines of enabled webhooks with something due; those that another courier looks at are passed over."""
    longest = sa.select(sa.func.min(_d.due_at)).where(_due(now), _d.webhook_id == _l.webhook_id).correlate(lines)
    query = (
        sa.select(_l.webhook_id)
        .join(webhooks, webhooks.c.webhook_id == _l.webhook_id)
        .where(webhooks.c.enabled, _free(now), longest.scalar_subquery().is_not(None))
        .order_by(longest.scalar_subquery(), _l.webhook_id)
    )
    return query.with_for_update(of=lines, skip_locked=True) if locked else query


def _due(now: datetime) -> sa.ColumnElement[bool]:
    """What may be sent, seen from a line.

    While an earlier delivery is in its first tries the later ones wait behind it, and the whole line waits where the
    receiver asked for it. What a person asked for (a test) waits for neither: it shows whether the receiver is back.
    """
    earlier = deliveries.alias("earlier")
    held = sa.exists().where(
        earlier.c.webhook_id == _d.webhook_id,
        earlier.c.state == "pending",
        earlier.c.delivery_id < _d.delivery_id,
        earlier.c.tried.between(1, HOLDING_TRIES - 1),
        earlier.c.due_at > now,
    )
    asked = _d.event == "webhook.test"
    paused = sa.and_(_l.paused_until.is_not(None), _l.paused_until > now)
    return sa.and_(_d.state == "pending", _d.due_at <= now, sa.or_(asked, ~sa.or_(held, paused)))


def _first(webhook_id: str, now: datetime) -> sa.Select[Any]:
    """The first delivery of a line that may be sent."""
    columns = (_d.delivery_id, _d.event, _d.run_id, _d.attempt, _d.tried, _d.payload, _d.created_at)
    return (
        sa.select(*columns)
        .join(lines, _l.webhook_id == _d.webhook_id)
        .where(_d.webhook_id == webhook_id, _due(now))
        .order_by(_d.delivery_id)
        .limit(1)
    )


def _read(row: sa.Row[Any], holder: str, webhook: WebhookRow) -> Leased:
    return Leased(
        delivery_id=row.delivery_id,
        event=row.event,
        run_id=row.run_id,
        attempt=row.attempt + 1,
        tried=row.tried,
        payload=row.payload,
        created_at=row.created_at,
        holder=holder,
        webhook=webhook,
    )


def _attempt(leased: Leased, outcome: Outcome, started_at: datetime) -> dict[str, Any]:
    return {
        "delivery_id": leased.delivery_id,
        "attempt": leased.attempt,
        "attempted_at": started_at,
        "status": outcome.status,
        "duration_ms": outcome.duration_ms,
        "error": outcome.error and _storable(outcome.error)[:MAX_ERROR_CHARS],
        "answer": outcome.answer and _storable(outcome.answer),
    }


def _storable(text: str) -> str:
    """Postgres takes no NUL, and UTF-8 no lone surrogates; a receiver may send both."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
