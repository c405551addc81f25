"""Receivers of notifications, as rows, each with its line. Every query takes a connection; nothing here judges a URL.

Secrets leave this module only for signing, and once for whoever created or rotated them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa

from relumine.receivers import DeliveryReason, DisabledReason
from relumine_server.storage.tables import deliveries, lines, told, webhooks

MAX_RETIRING = 4  # secrets that still sign beside the new one; every one of them lengthens a header


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A receiver. ``retiring`` are older secrets and until when they sign, as ``{secret, until}``."""

    webhook_id: str
    url: str
    format: str
    events: list[str]
    severity: str
    project: str | None
    group_wait_s: float
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    secret: str
    retiring: list[dict[str, str]]
    created_at: datetime

    def wants(self, event: str, project: str) -> bool:
        """Whether it is to be told of this event in this project; without a project it hears of all."""
        return event in self.events and self.may_know(project)

    def may_know(self, project: str) -> bool:
        """Whether it hears of this project; tests and news of webhooks are of none."""
        return not project or self.project is None or matches(project, self.project)

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign: the newest first, then what was rotated out of late."""
        return [self.secret, *(one["secret"] for one in self.retiring if datetime.fromisoformat(one["until"]) > now)]


def is_pattern(project: str) -> bool:
    """Whether what a webhook names may stand for several projects."""
    return "*" in project or "?" in project


def matches(project: str, pattern: str) -> bool:
    """Whether a project is the one named, or matches a pattern of ``*`` and ``?``."""
    return project == pattern or fnmatchcase(project, pattern.replace("[", "[[]"))


def read(row: Any) -> WebhookRow:
    """A receiver from a row that holds its columns."""
    return WebhookRow(**{name: getattr(row, name) for name in WebhookRow.__slots__})


def insert(connection: sa.Connection, row: WebhookRow) -> None:
    """Write a new receiver, and its line."""
    connection.execute(sa.insert(webhooks).values({name: getattr(row, name) for name in row.__slots__}))
    connection.execute(sa.insert(lines).values(webhook_id=row.webhook_id, failures=0))


def find(connection: sa.Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow | None:
    """One receiver; with ``lock`` nobody else changes it until the transaction ends."""
    query = sa.select(webhooks).where(webhooks.c.webhook_id == webhook_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else read(row)


def page(
    connection: sa.Connection, *, project: str | None, after: Sequence[Any] | None, limit: int
) -> list[WebhookRow]:
    """Receivers in the order of their creation, from behind ``after`` on; with a project those of it only."""
    key = (webhooks.c.created_at, webhooks.c.webhook_id)
    query = sa.select(webhooks).order_by(*key).limit(limit)
    if project is not None:
        query = query.where(webhooks.c.project == project, sa.false() if is_pattern(project) else sa.true())
    if after is not None:
        created_at, webhook_id = after
        behind = sa.and_(webhooks.c.created_at == created_at, webhooks.c.webhook_id > webhook_id)
        query = query.where(sa.or_(webhooks.c.created_at > created_at, behind))
    return [read(row) for row in connection.execute(query)]


def wanting(connection: sa.Connection, event: str, project: str) -> list[WebhookRow]:
    """The enabled receivers that are to be told of this event in this project."""
    return [row for row in _enabled(connection) if row.wants(event, project)]


def wanting_of(connection: sa.Connection, disabled: WebhookRow) -> list[WebhookRow]:
    """The enabled receivers that are to be told that this one was disabled: not those of other projects."""
    event = "webhook.disabled"
    return [
        row
        for row in _enabled(connection)
        if row.webhook_id != disabled.webhook_id and event in row.events and row.project in {None, disabled.project}
    ]


def _enabled(connection: sa.Connection) -> list[WebhookRow]:
    query = sa.select(webhooks).where(webhooks.c.enabled).order_by(webhooks.c.created_at, webhooks.c.webhook_id)
    return [read(row) for row in connection.execute(query)]


def change(connection: sa.Connection, webhook_id: str, values: Mapping[str, Any]) -> bool:
    """Set columns of one receiver; says whether there is one."""
    if not values:
        return find(connection, webhook_id) is not None
    done = connection.execute(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(**values))
    return done.rowcount == 1


def disable(connection: sa.Connection, webhook_id: str, reason: DisabledReason, now: datetime) -> None:
    """Send it nothing any more; what waits for it is called off."""
    change(connection, webhook_id, {"enabled": False, "disabled_reason": reason, "disabled_at": now})
    call_off(connection, webhook_id, "webhook_disabled", now)


def call_off(connection: sa.Connection, webhook_id: str, reason: DeliveryReason, now: datetime) -> None:
    """Cancel what waits for a receiver."""
    waiting = sa.and_(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "pending")
    connection.execute(sa.update(deliveries).where(waiting).values(state="cancelled", reason=reason, updated_at=now))


def move(connection: sa.Connection, moved: WebhookRow, now: datetime) -> None:
    """Call off what waits for a receiver and is of projects that it hears of no more."""
    ours = sa.and_(deliveries.c.webhook_id == moved.webhook_id, deliveries.c.state == "pending")
    projects = connection.scalars(sa.select(deliveries.c.project).where(ours).distinct())
    others = [project for project in projects if not moved.may_know(project)]
    if others:
        values = {"state": "cancelled", "reason": "webhook_moved", "updated_at": now}
        connection.execute(sa.update(deliveries).where(ours, deliveries.c.project.in_(others)).values(**values))


def rotated(row: WebhookRow, secret: str, overlap: timedelta, now: datetime) -> dict[str, Any]:
    """The columns of a receiver with a new secret; those it had sign on for ``overlap``, without one they end now."""
    until = (now + overlap).isoformat()
    older = [one for one in row.retiring if datetime.fromisoformat(one["until"]) > now]
    kept = [{"secret": row.secret, "until": until}, *older] if overlap else []
    return {"secret": secret, "retiring": kept[:MAX_RETIRING]}


def delete(connection: sa.Connection, webhook_id: str, now: datetime) -> bool:
    """Remove a receiver with its line, and call off what waits for it; says whether there was one.

    What was sent already stays until the log is cleared.
    """
    call_off(connection, webhook_id, "webhook_deleted", now)
    connection.execute(sa.delete(lines).where(lines.c.webhook_id == webhook_id))
    connection.execute(sa.delete(told).where(told.c.webhook_id == webhook_id))
    done = connection.execute(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))
    return done.rowcount == 1
