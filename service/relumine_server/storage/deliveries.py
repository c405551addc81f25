"""The outbox: deliveries, their leases and their attempts. The one place that moves a delivery's state.

``pending → delivered | failed | cancelled``. A delivery is written in the transaction of what it tells of.
Couriers take it by a conditional UPDATE of its lease, so that two of them never hold the same one; a courier
that died lets its lease run out. Nothing here sends, and nothing here decides when to try again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from relumine.views import Severity
from relumine_server.storage import webhooks as webhook_rows
from relumine_server.storage.tables import attempts, deliveries, webhooks
from relumine_server.webhooks.retry import Outcome

MAX_ERROR_CHARS = 300
_CANDIDATES = 16  # more than couriers that could snatch them away in the same moment


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this courier alone may attempt until ``lease_until``."""

    delivery_id: str
    webhook_id: str
    event: str
    run_id: str
    alert_ids: list[str]
    attempt: int
    payload: str | None
    created_at: datetime
    lease_until: datetime
    url: str
    secret: str


def enqueue(
    session: sa.Connection,
    *,
    event: str,
    run_id: str,
    project: str,
    alerts: Sequence[tuple[str, Severity]],
    now: datetime,
) -> int:
    """Write one delivery for every enabled webhook that wants this event; the number of them."""
    alert_ids = [alert_id for alert_id, severity in alerts if severity != "info"]
    wanting = webhook_rows.wanting(session, event, project) if alert_ids else []
    for webhook in wanting:
        about = {"event": event, "run_id": run_id, "project": project, "alert_ids": alert_ids}
        _insert(session, webhook.webhook_id, about, now)
    return len(wanting)


def enqueue_probe(session: sa.Connection, webhook_id: str, now: datetime) -> str:
    """Write a ``webhook.test`` delivery for one webhook; its id."""
    about = {"event": "webhook.test", "run_id": "", "project": "", "alert_ids": []}
    return _insert(session, webhook_id, about, now)


def lease(session: sa.Connection, *, now: datetime, until: datetime, passing: Collection[str] = ()) -> Leased | None:
    """Take the delivery that is due longest, of a webhook that is not among those to be passed over.

    A webhook with a delivery under way gets no second one, so a slow receiver holds up its own line only.
    """
    for row in session.execute(_due(now, passing)).all():
        ours = sa.and_(deliveries.c.delivery_id == row.delivery_id, _free(now))
        if session.execute(sa.update(deliveries).where(ours).values(lease_until=until)).rowcount == 1:
            return _read(row, until)
    return None


def cancel_orphans(session: sa.Connection, now: datetime) -> int:
    """Call off what waits for webhooks that were deleted or disabled; the number of them."""
    enabled = sa.select(webhooks.c.webhook_id).where(webhooks.c.enabled)
    orphaned = sa.and_(deliveries.c.state == "pending", deliveries.c.webhook_id.not_in(enabled))
    return session.execute(sa.update(deliveries).where(orphaned).values(state="cancelled", updated_at=now)).rowcount


def freeze(session: sa.Connection, delivery_id: str, payload: str) -> None:
    """Keep the body, so that every attempt carries the same."""
    session.execute(sa.update(deliveries).where(deliveries.c.delivery_id == delivery_id).values(payload=payload))


def cancel(session: sa.Connection, delivery_id: str, now: datetime) -> None:
    """Call a delivery off: what it tells of is gone."""
    gone = sa.and_(deliveries.c.delivery_id == delivery_id, deliveries.c.state == "pending")
    session.execute(sa.update(deliveries).where(gone).values(state="cancelled", lease_until=None, updated_at=now))


def settle(
    session: sa.Connection, leased: Leased, outcome: Outcome, *, started_at: datetime, due_at: datetime | None
) -> bool:
    """Record an attempt and what follows: delivered, due again at ``due_at``, or failed for good.

    Says False, and changes nothing, where the lease was lost meanwhile: then the attempt is another's to count.
    A delivery called off during the attempt keeps that state.
    """
    ours = sa.and_(
        deliveries.c.delivery_id == leased.delivery_id,
        deliveries.c.attempt == leased.attempt - 1,
        deliveries.c.lease_until == leased.lease_until,
    )
    after = {"attempt": leased.attempt, "lease_until": None, "updated_at": started_at}
    if session.execute(sa.update(deliveries).where(ours).values(**after)).rowcount != 1:
        return False
    state = "delivered" if outcome.delivered else "pending" if due_at else "failed"
    still = sa.and_(deliveries.c.delivery_id == leased.delivery_id, deliveries.c.state == "pending")
    due = {"due_at": due_at} if due_at else {}
    session.execute(sa.update(deliveries).where(still).values(state=state, **due))
    session.execute(sa.insert(attempts).values(_attempt(leased, outcome, started_at)))
    return True


def _insert(session: sa.Connection, webhook_id: str, about: dict[str, Any], now: datetime) -> str:
    delivery_id = f"dlv_{uuid4().hex}"
    times = {"due_at": now, "created_at": now, "updated_at": now}
    row = {"delivery_id": delivery_id, "webhook_id": webhook_id, "state": "pending", "attempt": 0, **about, **times}
    session.execute(sa.insert(deliveries).values(row))
    return delivery_id


def _free(now: datetime) -> sa.ColumnElement[bool]:
    unleased = sa.or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now)
    return sa.and_(deliveries.c.state == "pending", deliveries.c.due_at <= now, unleased)


def _due(now: datetime, passing: Collection[str]) -> sa.Select[Any]:
    """The first due delivery of each enabled webhook that has none under way."""
    order = (deliveries.c.due_at, deliveries.c.delivery_id)
    place = sa.func.row_number().over(partition_by=deliveries.c.webhook_id, order_by=order).label("place")
    busy = deliveries.alias("busy")
    under_way = sa.exists().where(
        busy.c.webhook_id == deliveries.c.webhook_id, busy.c.state == "pending", busy.c.lease_until >= now
    )
    others = deliveries.c.webhook_id.not_in(passing)
    first = sa.select(deliveries.c.delivery_id, place).where(_free(now), others, ~under_way).subquery()
    return (
        sa.select(deliveries, webhooks.c.url, webhooks.c.secret)
        .join(first, first.c.delivery_id == deliveries.c.delivery_id)
        .join(webhooks, webhooks.c.webhook_id == deliveries.c.webhook_id)
        .where(first.c.place == 1, webhooks.c.enabled)
        .order_by(*order)
        .limit(_CANDIDATES)
    )


def _read(row: sa.Row[Any], until: datetime) -> Leased:
    return Leased(
        delivery_id=row.delivery_id,
        webhook_id=row.webhook_id,
        event=row.event,
        run_id=row.run_id,
        alert_ids=list(row.alert_ids),
        attempt=row.attempt + 1,
        payload=row.payload,
        created_at=row.created_at,
        lease_until=until,
        url=row.url,
        secret=row.secret,
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
