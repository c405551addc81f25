"""Deliveries over HTTP: the log with every attempt, and redelivery."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import sqlalchemy as sa
from fastapi import APIRouter, Path

from relumine.schemas.base import Page
from relumine.schemas.webhook import Delivery, DeliveryState, DeliveryWithPayload
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import ClockDep, DatabaseDep, DispatcherDep, KeyProject, SettingsDep
from relumine_server.api.schemas.common import Cursor, Limit
from relumine_server.api.schemas.webhooks import WebhookId
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import (
    DeliveryNotFound,
    InvalidCursor,
    NothingToDeliver,
    WebhookDisabled,
    WebhookNotFound,
)
from relumine_server.outbox import delivery_log, endpoints
from relumine_server.webhooks import payloads
from relumine_server.webhooks.payloads import PendingDelivery

DeliveryId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=StrictQueryRoute)


@router.get("/webhooks/{webhook_id}/deliveries", responses=problem_details.responses(WebhookNotFound, InvalidCursor))
def list_deliveries(
    webhook_id: WebhookId,
    database: DatabaseDep,
    key_project: KeyProject,
    state: DeliveryState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Delivery]:
    """List the deliveries of a webhook with their attempts, newest first."""
    position = pagination.decode(cursor, str)
    with database.read() as connection:
        endpoints.get(connection, webhook_id)
        rows = delivery_log.page(
            connection, webhook_id, project=key_project, state=state, position=position, limit=limit
        )
    items, next_cursor = pagination.cut(rows, limit, lambda row: (row.delivery_id,))
    return Page[Delivery](items=items, next_cursor=next_cursor)


@router.get("/deliveries/{delivery_id}", responses=problem_details.responses(DeliveryNotFound))
def read_delivery(delivery_id: DeliveryId, database: DatabaseDep) -> DeliveryWithPayload:
    """Read one delivery with its attempts and the body that is sent, which is null until it is written."""
    with database.read() as connection:
        delivery = _read(connection, delivery_id)
        return DeliveryWithPayload(**dict(delivery), payload=delivery_log.payload(connection, delivery_id))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses=problem_details.responses(DeliveryNotFound, WebhookNotFound, WebhookDisabled, NothingToDeliver),
)
def redeliver(
    delivery_id: DeliveryId, database: DatabaseDep, settings: SettingsDep, clock: ClockDep, dispatcher: DispatcherDep
) -> Delivery:
    """Send a finished delivery again: same id, same payload, from the beginning of the retry schedule.

    One that waits for its next attempt is tried at once, and its schedule goes on from there. Where it was cancelled
    before its payload was rendered, the payload reports what still holds.
    """
    now = clock()
    delivery = database.write(lambda connection: _redeliver(connection, delivery_id, settings.base_url, now))
    dispatcher.wake()
    return delivery


def _redeliver(connection: sa.Connection, delivery_id: str, base_url: str, now: datetime) -> Delivery:
    row = delivery_log.lock(connection, delivery_id)
    if row is None:
        raise DeliveryNotFound
    if row.state == "pending":
        delivery_log.hasten(connection, delivery_id, now)
        return _read(connection, delivery_id)
    webhook = endpoints.get(connection, row.webhook_id)
    if not webhook.enabled:
        raise WebhookDisabled
    if not webhook.covers(row.project):
        raise NothingToDeliver
    delivery = PendingDelivery(delivery_id, row.event, row.run_id, row.created_at)
    draft = payloads.render(connection, delivery, webhook, base_url)
    if draft is None or draft.text is None:
        raise NothingToDeliver
    payloads.save(connection, delivery, webhook, draft, now)
    delivery_log.reschedule(connection, delivery_id, now)
    return _read(connection, delivery_id)


def _read(connection: sa.Connection, delivery_id: str) -> Delivery:
    delivery = delivery_log.find(connection, delivery_id)
    if delivery is None:
        raise DeliveryNotFound
    return delivery
