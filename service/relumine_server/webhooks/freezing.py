"""Writes the payload of a delivery, once: every attempt, and every redelivery, carries the same.

What is told is what holds at that moment. Ten thousand alerts are read in a reader's transaction, so that nobody
waits to write meanwhile; kept is the draft only if no news came in between. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine_server.errors import RunNotFound
from relumine_server.storage import alerts as alert_rows
from relumine_server.storage import summary, telling
from relumine_server.storage.tables import deliveries
from relumine_server.storage.telling import Standing
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.formats.alertmanager import MAX_API_ALERTS
from relumine_server.webhooks.formats.standard import MAX_ALERTS
from relumine_server.webhooks.formats.worst import worst_first
from relumine_server.webhooks.payload import News, Receiver, body

_c = deliveries.c
_STATE = sa.select(_c.subject, _c.payload, _c.taken)
_CARRIED = {"alertmanager": MAX_API_ALERTS}
"""Alerts that a format may carry, where they are more than usual: only those are read whole."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A delivery without a payload."""

    delivery_id: str
    event: str
    run_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """A payload that is not kept yet. ``text`` is None where nothing is left to tell.

    ``taken`` is how often the delivery had taken in news when this was written, ``told`` are the alerts in it, and
    ``is_kept`` says that somebody else has written and kept it.
    """

    text: str | None
    taken: int
    total: int = 0
    told: Sequence[Standing] = ()
    is_kept: bool = False


def compose(connection: sa.Connection, delivery: Unwritten, webhook: WebhookRow, base_url: str) -> Draft | None:
    """What to send, as things stand; None where the delivery is gone. Only reads."""
    row = connection.execute(_STATE.where(_c.delivery_id == delivery.delivery_id)).first()
    if row is None:
        return None
    if row.payload is not None:
        return Draft(row.payload, row.taken, is_kept=True)
    told = _left(connection, delivery, webhook, row.subject)
    news = _news(connection, delivery, webhook, row.subject, told, base_url)
    if news is None:
        return Draft(None, row.taken)
    return Draft(body(webhook.format, news, url=webhook.url), row.taken, news.total, told)


def keep(connection: sa.Connection, delivery: Unwritten, webhook: WebhookRow, draft: Draft, now: datetime) -> bool:
    """Keep a draft as the payload, or call the delivery off where there is nothing to tell.

    Says False, and changes nothing, where the delivery took in news since the draft was written.
    """
    if draft.is_kept:
        return True
    same = sa.and_(_c.delivery_id == delivery.delivery_id, _c.taken == draft.taken, _c.payload.is_(None))
    values: dict[str, Any] = {"payload": draft.text, "alerts": draft.total}
    if draft.text is None:
        values = {"state": "cancelled", "reason": "nothing_left", "alerts": 0, "updated_at": now}
    if connection.execute(sa.update(deliveries).where(same).values(**values)).rowcount == 0:
        return False
    telling.remember(connection, delivery.event, delivery.run_id, webhook.webhook_id, draft.told)
    return True


def _left(
    connection: sa.Connection, delivery: Unwritten, webhook: WebhookRow, subject: dict[str, Any]
) -> list[Standing]:
    if not delivery.event.startswith("alert."):
        return []
    return telling.left(connection, delivery.event, delivery.run_id, webhook, subject)


def _news(
    connection: sa.Connection,
    delivery: Unwritten,
    webhook: WebhookRow,
    subject: dict[str, Any],
    told: Sequence[Standing],
    base_url: str,
) -> News | None:
    """What there is to tell, if anything."""
    event, at = delivery.event, delivery.created_at
    if event == "run.finished":
        return _of_end(connection, delivery, base_url)
    if event.startswith("alert."):
        worst = [one.alert_id for one in worst_first(told)[: _CARRIED.get(webhook.format, MAX_ALERTS)]]
        alerts = alert_rows.find(connection, delivery.run_id, worst, base_url)
        return News(event, at, alerts, len(told), alerts[0].run.url) if alerts else None
    page = f"{base_url}/#/webhooks"
    return News(event, at, (), 0, page, webhook=Receiver(**subject) if event == "webhook.disabled" else None)


def _of_end(connection: sa.Connection, delivery: Unwritten, base_url: str) -> News | None:
    try:
        run = summary.of(connection, delivery.run_id, base_url)
    except RunNotFound:
        return None
    return News(delivery.event, delivery.created_at, (), 0, run.url, summary=run)
