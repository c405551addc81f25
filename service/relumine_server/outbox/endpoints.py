"""Webhooks as rows, each with its lease. Every function takes a connection; URLs are validated elsewhere.

A secret leaves this module only to sign, and once for the caller who created or rotated it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa

from relumine.schemas.alert import Severity
from relumine.schemas.webhook import DisabledReason, StatusReason
from relumine_server.db import keyset
from relumine_server.db.tables import deliveries, notification_log, webhook_leases, webhooks
from relumine_server.errors import WebhookNotFound

MAX_PREVIOUS_SECRETS = 4  # each secret that still signs beside the new one lengthens a header


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook. ``previous_secrets`` are ``{secret, until}``: older secrets, and the time until which they sign."""

    webhook_id: str
    name: str | None
    url: str
    format: str
    events: list[str]
    min_severity: Severity
    project: str | None
    group_wait_s: float
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    secret: str
    previous_secrets: list[dict[str, str]]
    created_at: datetime

    def subscribes_to(self, event: str, project: str) -> bool:
        """Return True where this event of this project is to be sent."""
        return event in self.events and self.covers(project)

    def covers(self, project: str) -> bool:
        """Return True for a project that the webhook is for, and for the empty project of events without a run."""
        return not project or self.project is None or matches(project, self.project)

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets that sign now, the newest first."""
        return [self.secret, *(previous["secret"] for previous in self.valid_previous_secrets(now))]

    def valid_previous_secrets(self, now: datetime) -> list[dict[str, str]]:
        """Return the older secrets that still sign."""
        return [previous for previous in self.previous_secrets if datetime.fromisoformat(previous["until"]) > now]


def is_pattern(project: str) -> bool:
    """Return True where the project of a webhook may stand for several projects."""
    return "*" in project or "?" in project


def matches(project: str, pattern: str) -> bool:
    """Return True where a project equals the pattern, or matches its ``*`` and ``?``."""
    return project == pattern or fnmatchcase(project, pattern.replace("[", "[[]"))


def insert(connection: sa.Connection, webhook: WebhookRow) -> None:
    """Store a new webhook and its lease."""
    values = {name: getattr(webhook, name) for name in WebhookRow.__slots__}
    connection.execute(sa.insert(webhooks).values(values))
    connection.execute(sa.insert(webhook_leases).values(webhook_id=webhook.webhook_id, consecutive_failures=0))


def find(connection: sa.Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow | None:
    """Return one webhook, or None. With ``lock`` no other transaction changes it until this one ends."""
    query = sa.select(webhooks).where(webhooks.c.webhook_id == webhook_id)
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def get(connection: sa.Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """Return one webhook, locked as in ``find``. Raises WebhookNotFound."""
    webhook = find(connection, webhook_id, lock=lock)
    if webhook is None:
        raise WebhookNotFound
    return webhook


def page(
    connection: sa.Connection, *, project: str | None, position: Sequence[Any] | None, limit: int
) -> list[WebhookRow]:
    """Return a page of webhooks in the order of their creation, and one more.

    ``position`` is (created_at, webhook_id). With ``project`` only webhooks that are for this one project.
    """
    columns = (webhooks.c.created_at, webhooks.c.webhook_id)
    query = keyset.page(sa.select(webhooks), columns, position, limit)
    if project is not None:
        query = query.where(webhooks.c.project == project, sa.false() if is_pattern(project) else sa.true())
    return [_from_row(row) for row in connection.execute(query)]


def subscribers(connection: sa.Connection, event: str, project: str) -> list[WebhookRow]:
    """Return the enabled webhooks that subscribe to this event of this project."""
    return [webhook for webhook in _enabled(connection) if webhook.subscribes_to(event, project)]


def subscribers_to_disabling(connection: sa.Connection, disabled: WebhookRow) -> list[WebhookRow]:
    """Return the enabled webhooks to notify that this one was disabled: none of other projects."""
    projects = {None, disabled.project}
    return [
        webhook
        for webhook in _enabled(connection)
        if webhook.webhook_id != disabled.webhook_id
        and "webhook.disabled" in webhook.events
        and webhook.project in projects
    ]


def update(connection: sa.Connection, webhook_id: str, values: Mapping[str, Any]) -> bool:
    """Set columns of one webhook; return False where it does not exist."""
    if not values:
        return find(connection, webhook_id) is not None
    result = connection.execute(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(**values))
    return result.rowcount == 1


def disable(connection: sa.Connection, webhook_id: str, reason: DisabledReason, now: datetime) -> None:
    """Disable a webhook and cancel its pending deliveries."""
    update(connection, webhook_id, {"enabled": False, "disabled_reason": reason, "disabled_at": now})
    cancel_pending(connection, webhook_id, "webhook_disabled", now)


def cancel_pending(connection: sa.Connection, webhook_id: str, reason: StatusReason, now: datetime) -> None:
    """Cancel the pending deliveries of a webhook."""
    cancelled = {"state": "cancelled", "status_reason": reason, "updated_at": now}
    connection.execute(sa.update(deliveries).where(_pending(webhook_id)).values(**cancelled))


def cancel_other_projects(connection: sa.Connection, webhook: WebhookRow, now: datetime) -> None:
    """Cancel the pending deliveries of projects that the webhook does not cover any more."""
    pending = _pending(webhook.webhook_id)
    projects = connection.scalars(sa.select(deliveries.c.project).where(pending).distinct())
    uncovered = [project for project in projects if not webhook.covers(project)]
    if uncovered:
        cancelled = {"state": "cancelled", "status_reason": "project_changed", "updated_at": now}
        affected = sa.and_(pending, deliveries.c.project.in_(uncovered))
        connection.execute(sa.update(deliveries).where(affected).values(**cancelled))


def rotated_secrets(webhook: WebhookRow, new_secret: str, overlap: timedelta, now: datetime) -> dict[str, Any]:
    """Return the columns of a webhook with a new secret.

    The secret it replaces signs for ``overlap`` more; without an overlap all older ones end now.
    """
    previous: list[dict[str, str]] = []
    if overlap:
        replaced = {"secret": webhook.secret, "until": (now + overlap).isoformat()}
        previous = [replaced, *webhook.valid_previous_secrets(now)]
    return {"secret": new_secret, "previous_secrets": previous[:MAX_PREVIOUS_SECRETS]}


def delete(connection: sa.Connection, webhook_id: str, now: datetime) -> bool:
    """Delete a webhook with its lease, and cancel its pending deliveries; return False where it does not exist.

    Its past deliveries stay until the log is cleared.
    """
    cancel_pending(connection, webhook_id, "webhook_deleted", now)
    connection.execute(sa.delete(webhook_leases).where(webhook_leases.c.webhook_id == webhook_id))
    connection.execute(sa.delete(notification_log).where(notification_log.c.webhook_id == webhook_id))
    result = connection.execute(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))
    return result.rowcount == 1


def _enabled(connection: sa.Connection) -> list[WebhookRow]:
    query = sa.select(webhooks).where(webhooks.c.enabled).order_by(webhooks.c.created_at, webhooks.c.webhook_id)
    return [_from_row(row) for row in connection.execute(query)]


def _pending(webhook_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "pending")


def _from_row(row: sa.Row[Any]) -> WebhookRow:
    return WebhookRow(**{name: getattr(row, name) for name in WebhookRow.__slots__})
