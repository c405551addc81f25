"""Webhooks over HTTP: create, read, change, delete, test, and rotate the secret.

A secret is shown once, in the answer that created it. Nothing is sent from here: a route writes to the outbox and wakes
the dispatcher.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response

from relumine.schemas.base import Page, rfc3339
from relumine.schemas.webhook import ListedWebhook, TestDelivery, Webhook
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import ClockDep, DatabaseDep, DispatcherDep, KeyProject, SettingsDep
from relumine_server.api.schemas.common import Cursor
from relumine_server.api.schemas.webhooks import (
    NewWebhook,
    SecretRotation,
    WebhookChange,
    WebhookId,
    validated_columns,
)
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import InvalidCursor, InvalidWebhook, WebhookDisabled, WebhookNotFound
from relumine_server.outbox import delivery_log, endpoints, leases
from relumine_server.outbox import enqueue as outbox
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.outbox.leases import NO_FAILURES, FailureStreak

SECRET_BYTES = 32

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictQueryRoute)


@router.post("", status_code=201, responses=problem_details.responses(InvalidWebhook))
def create_webhook(
    body: NewWebhook, database: DatabaseDep, settings: SettingsDep, clock: ClockDep, key_project: KeyProject
) -> Webhook:
    """Create a webhook. The answer contains its secret, once, and its format, which the URL decides if not given."""
    columns = {"group_wait_s": settings.group_wait_s} | validated_columns(body, settings, key_project)
    webhook = WebhookRow(
        webhook_id=f"whk_{uuid4().hex}",
        enabled=True,
        disabled_reason=None,
        disabled_at=None,
        secret=_new_secret(),
        previous_secrets=[],
        created_at=clock(),
        **columns,
    )
    database.write(lambda connection: endpoints.insert(connection, webhook))
    return _webhook_view(webhook, NO_FAILURES, webhook.created_at, secret=webhook.secret)


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_webhooks(
    database: DatabaseDep,
    clock: ClockDep,
    key_project: KeyProject,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Page[ListedWebhook]:
    """List all webhooks, in the order of their creation, with the newest delivery of each."""
    position = pagination.decode(cursor, datetime, str)
    with database.read() as connection:
        rows = endpoints.page(connection, project=key_project, position=position, limit=limit)
        rows, next_cursor = pagination.cut(rows, limit, lambda row: (row.created_at, row.webhook_id))
        webhook_ids = [row.webhook_id for row in rows]
        streaks = leases.failure_streaks(connection, webhook_ids)
        newest = delivery_log.newest(connection, webhook_ids, key_project)
        pending = delivery_log.pending_counts(connection, webhook_ids, key_project)
    now = clock()
    items = [
        ListedWebhook(
            **dict(_webhook_view(row, streaks[row.webhook_id], now)),
            last_delivery=newest.get(row.webhook_id),
            pending_deliveries=pending.get(row.webhook_id, 0),
        )
        for row in rows
    ]
    return Page[ListedWebhook](items=items, next_cursor=next_cursor)


@router.get("/{webhook_id}", responses=problem_details.responses(WebhookNotFound))
def read_webhook(webhook_id: WebhookId, database: DatabaseDep, clock: ClockDep) -> Webhook:
    """Read one webhook."""
    with database.read() as connection:
        return _read(connection, webhook_id, clock())


@router.patch("/{webhook_id}", responses=problem_details.responses(WebhookNotFound, InvalidWebhook))
def change_webhook(
    webhook_id: WebhookId,
    body: WebhookChange,
    database: DatabaseDep,
    settings: SettingsDep,
    clock: ClockDep,
    dispatcher: DispatcherDep,
    key_project: KeyProject,
) -> Webhook:
    """Change a webhook.

    Disabling it cancels its pending deliveries. Enabling it, or a new URL, makes waiting retries due at once.
    """
    columns = validated_columns(body, settings, key_project)
    now = clock()
    webhook = database.write(lambda connection: _change(connection, webhook_id, columns, now))
    dispatcher.wake()
    return webhook


@router.delete("/{webhook_id}", status_code=204, responses=problem_details.responses(WebhookNotFound))
def delete_webhook(webhook_id: WebhookId, database: DatabaseDep, clock: ClockDep) -> Response:
    """Delete a webhook and cancel its pending deliveries."""
    if not database.write(lambda connection: endpoints.delete(connection, webhook_id, clock())):
        raise WebhookNotFound
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/test", status_code=202, responses=problem_details.responses(WebhookNotFound, WebhookDisabled)
)
def test_webhook(
    webhook_id: WebhookId, database: DatabaseDep, clock: ClockDep, dispatcher: DispatcherDep
) -> TestDelivery:
    """Send a signed ``webhook.test`` to this webhook, whether or not it subscribes to that event."""

    def write_test(connection: sa.Connection) -> str:
        webhook = endpoints.get(connection, webhook_id)
        if not webhook.enabled:
            raise WebhookDisabled
        return outbox.enqueue_test(connection, webhook, clock())

    delivery_id = database.write(write_test)
    dispatcher.wake()
    return TestDelivery(delivery_id=delivery_id, webhook_id=webhook_id, event="webhook.test")


@router.post("/{webhook_id}/rotate-secret", responses=problem_details.responses(WebhookNotFound))
def rotate_secret(
    webhook_id: WebhookId, database: DatabaseDep, clock: ClockDep, rotation: SecretRotation | None = None
) -> Webhook:
    """Replace the secret; the answer contains the new one, once.

    Previous secrets sign beside it for ``overlap_s`` seconds; with 0 they end at once.
    """
    overlap = timedelta(seconds=(rotation or SecretRotation()).overlap_s)
    secret = _new_secret()
    now = clock()

    def rotate(connection: sa.Connection) -> Webhook:
        webhook = endpoints.get(connection, webhook_id, lock=True)
        endpoints.update(connection, webhook_id, endpoints.rotated_secrets(webhook, secret, overlap, now))
        return _read(connection, webhook_id, now, secret=secret)

    return database.write(rotate)


def _new_secret() -> str:
    """Return a random secret in the notation of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _change(connection: sa.Connection, webhook_id: str, columns: Mapping[str, Any], now: datetime) -> Webhook:
    previous = endpoints.get(connection, webhook_id, lock=True)
    enabled = columns.get("enabled", previous.enabled)
    is_reenabled = enabled and not previous.enabled
    changed = {name: value for name, value in columns.items() if name != "enabled"}
    if is_reenabled:
        changed |= {"enabled": True, "disabled_reason": None, "disabled_at": None}
    endpoints.update(connection, webhook_id, changed)
    if columns.get("project", previous.project) != previous.project:
        endpoints.cancel_other_projects(connection, endpoints.get(connection, webhook_id), now)
    if previous.enabled and not enabled:
        endpoints.disable(connection, webhook_id, "requested", now)
    elif is_reenabled or columns.get("url", previous.url) != previous.url:
        leases.reset_failures(connection, webhook_id, now)
    return _read(connection, webhook_id, now)


def _read(connection: sa.Connection, webhook_id: str, now: datetime, *, secret: str | None = None) -> Webhook:
    webhook = endpoints.get(connection, webhook_id)
    streak = leases.failure_streaks(connection, [webhook_id])[webhook_id]
    return _webhook_view(webhook, streak, now, secret=secret)


def _webhook_view(webhook: WebhookRow, streak: FailureStreak, now: datetime, *, secret: str | None = None) -> Webhook:
    ends = [datetime.fromisoformat(previous["until"]) for previous in webhook.valid_previous_secrets(now)]
    return Webhook(
        webhook_id=webhook.webhook_id,
        name=webhook.name,
        url=webhook.url,
        format=webhook.format,
        events=webhook.events,
        min_severity=webhook.min_severity,
        project=webhook.project,
        group_wait_s=webhook.group_wait_s,
        enabled=webhook.enabled,
        disabled_reason=webhook.disabled_reason,
        disabled_at=rfc3339(webhook.disabled_at),
        consecutive_failures=streak.consecutive_failures,
        first_failure_at=rfc3339(streak.first_failure_at),
        created_at=rfc3339(webhook.created_at),
        secrets_until=rfc3339(max(ends, default=None)),
        secret=secret,
    )
