"""The log of deliveries over HTTP: what was sent, try by try, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import sqlalchemy as sa
from fastapi import APIRouter, Path

from relumine.receivers import Delivery, DeliveryState
from relumine.views import Page
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, CourierDep, OwnProject, SettingsDep, StoreDep
from relumine_server.api.schemas import Cursor, Limit
from relumine_server.api.webhook_bodies import WebhookId
from relumine_server.api.webhooks import found
from relumine_server.errors import (
    BadCursor,
    DeliveryNotFound,
    DeliveryPending,
    NothingToTell,
    WebhookDisabled,
    WebhookNotFound,
)
from relumine_server.storage import delivery_log
from relumine_server.webhooks.freezing import Unwritten, compose, keep

DeliveryId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]

router = APIRouter(prefix="/v1", tags=["webhooks"])


@router.get("/webhooks/{webhook_id}/deliveries", responses=problems.responses(WebhookNotFound, BadCursor))
def list_deliveries(
    webhook_id: WebhookId,
    store: StoreDep,
    own: OwnProject,
    state: DeliveryState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Delivery]:
    """What was sent to a webhook, or is to be, with every attempt; newest first."""
    before = cursors.decode_name(cursor)
    with store.read() as connection:
        found(connection, webhook_id)
        listed = delivery_log.page(connection, webhook_id, own=own, state=state, before=before, limit=limit + 1)
    shown = listed[:limit]
    following = cursors.encode_name(shown[-1].delivery_id) if len(listed) > limit else None
    return Page[Delivery](items=shown, next_cursor=following)


@router.get("/deliveries/{delivery_id}", responses=problems.responses(DeliveryNotFound))
def read_delivery(delivery_id: DeliveryId, store: StoreDep) -> Delivery:
    """One delivery with its attempts."""
    with store.read() as connection:
        return _one(connection, delivery_id)


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses=problems.responses(DeliveryNotFound, WebhookNotFound, WebhookDisabled, DeliveryPending, NothingToTell),
)
def redeliver(
    delivery_id: DeliveryId, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> Delivery:
    """Send what ended once more, under the same id and with the same payload, from the beginning of the schedule.

    What was called off before it was ever written is written now, as far as it still holds.
    """
    now = clock()
    again = store.write(lambda connection: _again(connection, delivery_id, settings.base_url, now))
    courier.wake()
    return again


def _again(connection: sa.Connection, delivery_id: str, base_url: str, now: datetime) -> Delivery:
    row = delivery_log.row_of(connection, delivery_id)
    if row is None:
        raise DeliveryNotFound
    if row.state == "pending":
        raise DeliveryPending
    webhook = found(connection, row.webhook_id)
    if not webhook.enabled:
        raise WebhookDisabled
    if not webhook.may_know(row.project):
        raise NothingToTell
    unwritten = Unwritten(delivery_id, row.event, row.run_id, row.created_at)
    draft = compose(connection, unwritten, webhook, base_url)
    if draft is None or draft.text is None:
        raise NothingToTell
    keep(connection, unwritten, webhook, draft, now)
    delivery_log.send_again(connection, delivery_id, now)
    return _one(connection, delivery_id)


def _one(connection: sa.Connection, delivery_id: str) -> Delivery:
    delivery = delivery_log.find(connection, delivery_id)
    if delivery is None:
        raise DeliveryNotFound
    return delivery
