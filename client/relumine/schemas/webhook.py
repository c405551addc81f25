"""Answers of the API about webhooks, their deliveries and attempts, and the events and formats there are."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from relumine.schemas.alert import Severity
from relumine.schemas.base import View

WebhookEvent: TypeAlias = Literal[
    "alert.firing", "alert.resolved", "alert.acknowledged", "run.finished", "webhook.test", "webhook.disabled"
]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)

WebhookFormat: TypeAlias = Literal["standard", "slack", "discord", "alertmanager"]
FORMATS: tuple[WebhookFormat, ...] = get_args(WebhookFormat)

DisabledReason: TypeAlias = Literal["requested", "endpoint_gone", "failing"]
"""``requested``: through the API. ``endpoint_gone``: it answered 410. ``failing``: five days of failures only."""
DeliveryState: TypeAlias = Literal["pending", "delivered", "failed", "cancelled"]
StatusReason: TypeAlias = Literal[
    "endpoint_gone", "attempts_exhausted", "superseded", "webhook_disabled", "webhook_deleted", "project_changed"
]
"""The cause of a failed or cancelled delivery.

``superseded``: none of it held any more when its payload was to be written.
``project_changed``: the webhook was moved to another project."""


class Webhook(View):
    """A webhook. ``secret`` is null except in the answer that created or rotated it.

    ``consecutive_failures`` counts the failed attempts since the last success, ``first_failure_at`` is the time of the
    first of them. From ``secrets_until`` on the newest secret signs alone; null where it already does.
    """

    webhook_id: str
    name: str | None
    url: str
    format: str
    """The format of its notifications; where none was given, the server chose it by the URL."""
    events: list[str]
    min_severity: Severity
    """The least severe alerts that it is sent."""
    project: str | None
    """A project name, or a pattern with ``*`` and ``?``; null for all projects."""
    group_wait_s: float
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: str | None
    consecutive_failures: int
    first_failure_at: str | None
    created_at: str
    secrets_until: str | None
    secret: str | None


class Attempt(View):
    """One HTTP request of a delivery. Without a response ``response_status`` is null and ``error`` gives the cause.

    ``response_body`` is the first KiB of the response.
    """

    attempt: int
    attempted_at: str
    response_status: int | None
    duration_ms: int
    error: str | None
    response_body: str | None


class Delivery(View):
    """One notification for one webhook. ``delivery_id`` is the ``webhook-id`` header of every attempt.

    ``alert_count`` is the number of alerts that it reports. ``next_attempt_at`` is null where no attempt follows.
    """

    delivery_id: str
    webhook_id: str
    event: str
    run_id: str | None
    project: str | None
    alert_count: int
    state: DeliveryState
    status_reason: StatusReason | None
    next_attempt_at: str | None
    created_at: str
    updated_at: str
    attempts: list[Attempt]


class ListedWebhook(Webhook):
    """A webhook in the list, with its newest delivery (null before the first) and the number of its pending ones."""

    last_delivery: Delivery | None
    pending_deliveries: int


class DeliveryWithPayload(Delivery):
    """One notification with the body of its requests, as JSON text; null where it has not been written yet."""

    payload: str | None


class TestDelivery(View):
    """The delivery that a test of a webhook created."""

    delivery_id: str
    webhook_id: str
    event: str
