"""What the server answers about webhooks: receivers, what was sent to them, and every try. As in ``views``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from relumine.views import Severity, View

DisabledReason: TypeAlias = Literal["requested", "gone", "failing"]
"""Why a webhook is disabled: a person did it, it answered 410, or nothing but failures for five days."""
DeliveryState: TypeAlias = Literal["pending", "delivered", "failed", "cancelled"]
DeliveryReason: TypeAlias = Literal[
    "gone", "given_up", "nothing_left", "webhook_disabled", "webhook_deleted", "webhook_moved"
]
"""Why it failed or was cancelled; ``nothing_left``: what it was to tell did not hold any more when it was written."""


class Webhook(View):
    """A receiver. ``secret`` is shown once, when it is created or rotated; null ever after.

    ``failures`` counts the attempts that failed since the last that did not, ``failing_since`` is the moment of the
    first. ``secrets_until`` is the moment from which the newest secret signs alone; null where it does already.
    """

    webhook_id: str
    url: str
    format: str
    events: list[str]
    severity: Severity
    """The least that it is told of."""
    project: str | None
    """A project, or a pattern of ``*`` and ``?``; null for all."""
    group_wait_s: float
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: str | None
    failures: int
    failing_since: str | None
    created_at: str
    secrets_until: str | None
    secret: str | None


class Attempt(View):
    """One try at a delivery. ``status`` is null where no answer came; ``answer`` is the first KiB of one."""

    attempt: int
    attempted_at: str
    status: int | None
    duration_ms: int
    error: str | None
    answer: str | None


class Delivery(View):
    """One notification for one webhook; its id is the ``webhook-id`` of every try.

    ``alerts`` is the number of alerts that it tells of. ``due_at`` is the moment of the next try, null where there is
    none.
    """

    delivery_id: str
    webhook_id: str
    event: str
    run_id: str | None
    project: str | None
    alerts: int
    state: DeliveryState
    reason: DeliveryReason | None
    due_at: str | None
    created_at: str
    updated_at: str
    attempts: list[Attempt]


class Probe(View):
    """The delivery that a test wrote."""

    delivery_id: str
    webhook_id: str
    event: str
