"""Receivers of notifications, as rows. Every query takes a connection; nothing here judges a URL.

The secret leaves this module only for signing, and once for whoever created the webhook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine_server.storage.tables import deliveries, webhooks


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A receiver."""

    webhook_id: str
    url: str
    format: str
    events: list[str]
    project: str | None
    enabled: bool
    secret: str
    created_at: datetime

    def wants(self, event: str, project: str) -> bool:
        """Whether it is to be told of this event in this project; without a project it hears of all."""
        return event in self.events and self.project in {None, project}


def insert(session: sa.Connection, row: WebhookRow) -> None:
    """Write a new receiver."""
    session.execute(sa.insert(webhooks).values({name: getattr(row, name) for name in row.__slots__}))


def find(session: sa.Connection, webhook_id: str) -> WebhookRow | None:
    """One receiver."""
    row = session.execute(sa.select(webhooks).where(webhooks.c.webhook_id == webhook_id)).one_or_none()
    return None if row is None else _read(row)


def page(session: sa.Connection, *, project: str | None, after: Sequence[Any] | None, limit: int) -> list[WebhookRow]:
    """Receivers in the order of their creation, from behind ``after`` on; with a project those of it only."""
    key = (webhooks.c.created_at, webhooks.c.webhook_id)
    query = sa.select(webhooks).order_by(*key).limit(limit)
    if project is not None:
        query = query.where(webhooks.c.project == project)
    if after is not None:
        created_at, webhook_id = after
        behind = sa.and_(webhooks.c.created_at == created_at, webhooks.c.webhook_id > webhook_id)
        query = query.where(sa.or_(webhooks.c.created_at > created_at, behind))
    return [_read(row) for row in session.execute(query)]


def wanting(session: sa.Connection, event: str, project: str) -> list[WebhookRow]:
    """The enabled receivers that are to be told of this event in this project."""
    query = sa.select(webhooks).where(webhooks.c.enabled).order_by(webhooks.c.created_at, webhooks.c.webhook_id)
    rows = [_read(row) for row in session.execute(query)]
    return [row for row in rows if row.wants(event, project)]


def change(session: sa.Connection, webhook_id: str, values: Mapping[str, Any]) -> bool:
    """Set columns of one receiver; says whether there is one."""
    if not values:
        return find(session, webhook_id) is not None
    done = session.execute(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(**values))
    return done.rowcount == 1


def delete(session: sa.Connection, webhook_id: str, now: datetime) -> bool:
    """Remove a receiver and call off what still waits for it; says whether there was one.

    What was delivered already stays in the log.
    """
    waiting = sa.and_(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "pending")
    session.execute(sa.update(deliveries).where(waiting).values(state="cancelled", updated_at=now))
    done = session.execute(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))
    return done.rowcount == 1


def _read(row: sa.Row[Any]) -> WebhookRow:
    return WebhookRow(
        webhook_id=row.webhook_id,
        url=row.url,
        format=row.format,
        events=list(row.events),
        project=row.project,
        enabled=row.enabled,
        secret=row.secret,
        created_at=row.created_at,
    )
