"""Receivers of notifications over HTTP: create, read, change, delete, try one out, give one a new secret.

A secret is shown once, in the answer that made it. Nothing is sent from here: the outbox is written and the courier
woken.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import Annotated
from uuid import uuid4

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response

from relumine.receivers import Probe, Webhook
from relumine.views import Page
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, CourierDep, OwnProject, SettingsDep, StoreDep
from relumine_server.api.schemas import Cursor
from relumine_server.api.webhook_bodies import NewWebhook, Rotation, WebhookChange, WebhookId, checked
from relumine_server.errors import BadCursor, InvalidWebhook, WebhookDisabled, WebhookNotFound
from relumine_server.storage import deliveries, lines
from relumine_server.storage import webhooks as rows
from relumine_server.storage.lines import Streak
from relumine_server.storage.runs import moment
from relumine_server.storage.webhooks import WebhookRow

SECRET_BYTES = 32

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post("", status_code=201, responses=problems.responses(InvalidWebhook))
def create_webhook(
    body: NewWebhook, store: StoreDep, settings: SettingsDep, clock: ClockDep, own: OwnProject
) -> Webhook:
    """Add a receiver. The answer holds its secret, once."""
    values = {"group_wait_s": settings.group_wait_s} | checked(body, settings, own)
    row = WebhookRow(
        webhook_id=f"whk_{uuid4().hex}",
        enabled=True,
        disabled_reason=None,
        disabled_at=None,
        secret=new_secret(),
        retiring=[],
        created_at=clock(),
        **values,
    )
    store.write(lambda connection: rows.insert(connection, row))
    return view(row, Streak(0, None), row.created_at, secret=row.secret)


@router.get("", responses=problems.responses(BadCursor))
def list_webhooks(
    store: StoreDep,
    clock: ClockDep,
    own: OwnProject,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Page[Webhook]:
    """All receivers, in the order of their creation."""
    after = cursors.decode(cursor, 2)
    with store.read() as connection:
        found = rows.page(connection, project=own, after=after, limit=limit + 1)
        fares = lines.fares(connection, [row.webhook_id for row in found])
    shown = found[:limit]
    next_cursor = cursors.encode([shown[-1].created_at, shown[-1].webhook_id]) if len(found) > limit else None
    items = [view(row, fares[row.webhook_id], clock()) for row in shown]
    return Page[Webhook](items=items, next_cursor=next_cursor)


@router.get("/{webhook_id}", responses=problems.responses(WebhookNotFound))
def read_webhook(webhook_id: WebhookId, store: StoreDep, clock: ClockDep) -> Webhook:
    """One receiver."""
    with store.read() as connection:
        return _one(connection, webhook_id, clock())


@router.patch("/{webhook_id}", responses=problems.responses(WebhookNotFound, InvalidWebhook))
def change_webhook(
    webhook_id: WebhookId,
    body: WebhookChange,
    store: StoreDep,
    settings: SettingsDep,
    clock: ClockDep,
    courier: CourierDep,
    own: OwnProject,
) -> Webhook:
    """Change a receiver. What waits for one that is disabled is called off; one that is mended is tried at once."""
    values = checked(body, settings, own)
    now = clock()

    def work(connection: sa.Connection) -> Webhook:
        before = found(connection, webhook_id, lock=True)
        enabled = values.pop("enabled", before.enabled)
        if enabled and not before.enabled:
            values.update(enabled=True, disabled_reason=None, disabled_at=None)
        rows.change(connection, webhook_id, values)
        if values.get("project", before.project) != before.project:
            rows.move(connection, found(connection, webhook_id), now)
        if before.enabled and not enabled:
            rows.disable(connection, webhook_id, "requested", now)
        elif (enabled and not before.enabled) or values.get("url", before.url) != before.url:
            lines.restart(connection, webhook_id, now)
        return _one(connection, webhook_id, now)

    changed = store.write(work)
    courier.wake()
    return changed


@router.delete("/{webhook_id}", status_code=204, responses=problems.responses(WebhookNotFound))
def delete_webhook(webhook_id: WebhookId, store: StoreDep, clock: ClockDep) -> Response:
    """Remove a receiver; what waits for it is called off."""
    if not store.write(lambda connection: rows.delete(connection, webhook_id, clock())):
        raise WebhookNotFound
    return Response(status_code=204)


@router.post("/{webhook_id}/test", status_code=202, responses=problems.responses(WebhookNotFound, WebhookDisabled))
def test_webhook(webhook_id: WebhookId, store: StoreDep, clock: ClockDep, courier: CourierDep) -> Probe:
    """Send a signed ``webhook.test`` to this receiver, whatever events it listens to."""

    def work(connection: sa.Connection) -> str:
        webhook = found(connection, webhook_id)
        if not webhook.enabled:
            raise WebhookDisabled
        return deliveries.enqueue_probe(connection, webhook, clock())

    delivery_id = store.write(work)
    courier.wake()
    return Probe(delivery_id=delivery_id, webhook_id=webhook_id, event="webhook.test")


@router.post("/{webhook_id}/rotate-secret", responses=problems.responses(WebhookNotFound))
def rotate_secret(webhook_id: WebhookId, store: StoreDep, clock: ClockDep, rotation: Rotation | None = None) -> Webhook:
    """Give it a new secret, shown once. Older ones sign beside it until ``overlap_s`` is over; 0 ends them at once."""
    overlap = timedelta(seconds=(rotation or Rotation()).overlap_s)
    secret, now = new_secret(), clock()

    def work(connection: sa.Connection) -> Webhook:
        row = found(connection, webhook_id, lock=True)
        rows.change(connection, webhook_id, rows.rotated(row, secret, overlap, now))
        return _one(connection, webhook_id, now, secret=secret)

    return store.write(work)


def new_secret() -> str:
    """A secret as Standard Webhooks wants it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def found(connection: sa.Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """The receiver of this id. Raises WebhookNotFound."""
    row = rows.find(connection, webhook_id, lock=lock)
    if row is None:
        raise WebhookNotFound
    return row


def _one(connection: sa.Connection, webhook_id: str, now: datetime, *, secret: str | None = None) -> Webhook:
    row = found(connection, webhook_id)
    return view(row, lines.fares(connection, [webhook_id])[webhook_id], now, secret=secret)


def view(row: WebhookRow, streak: Streak, now: datetime, *, secret: str | None = None) -> Webhook:
    """A receiver as the API shows it."""
    ends = [end for one in row.retiring if (end := datetime.fromisoformat(one["until"])) > now]
    return Webhook(
        webhook_id=row.webhook_id,
        url=row.url,
        format=row.format,
        events=row.events,
        severity=row.severity,
        project=row.project,
        group_wait_s=row.group_wait_s,
        enabled=row.enabled,
        disabled_reason=row.disabled_reason,
        disabled_at=moment(row.disabled_at),
        failures=streak.failures,
        failing_since=moment(streak.since),
        created_at=moment(row.created_at) or "",
        secrets_until=moment(max(ends, default=None)),
        secret=secret,
    )
