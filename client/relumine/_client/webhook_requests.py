"""Requests about webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict, Unpack

from relumine._client.requests import Requests, parsed
from relumine.schemas.alert import Severity
from relumine.schemas.webhook import Delivery, DeliveryState, DeliveryWithPayload, TestDelivery, Webhook, WebhookFormat


class WebhookFields(TypedDict, total=False):
    """Fields of a webhook beside its URL; docs/api.md has the defaults."""

    events: Sequence[str]
    min_severity: Severity
    project: str | None
    format: WebhookFormat
    group_wait_s: float


class WebhookChanges(WebhookFields, total=False):
    """Fields of a webhook that can be changed."""

    url: str
    enabled: bool


class WebhookRequests(Requests):
    """Webhooks and their deliveries."""

    def webhooks(self) -> Iterator[Webhook]:
        """Return all webhooks, in the order of their creation."""
        return self._items("/v1/webhooks", Webhook)

    def webhook(self, webhook_id: str) -> Webhook:
        """Return one webhook."""
        return self._get(f"/v1/webhooks/{webhook_id}", Webhook)

    def create_webhook(self, url: str, **fields: Unpack[WebhookFields]) -> Webhook:
        """Create a webhook; the result contains its ``secret``, once."""
        return self._post("/v1/webhooks", Webhook, {"url": url, **fields})

    def change_webhook(self, webhook_id: str, **fields: Unpack[WebhookChanges]) -> Webhook:
        """Change the given fields of a webhook; ``project=None`` means every project."""
        content = self._send("PATCH", f"/v1/webhooks/{webhook_id}", json=fields)
        return parsed(Webhook, content)

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook and cancel its pending deliveries."""
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    def test_webhook(self, webhook_id: str) -> TestDelivery:
        """Send a signed ``webhook.test``; ``delivery`` returns its result."""
        return self._post(f"/v1/webhooks/{webhook_id}/test", TestDelivery, {})

    def rotate_secret(self, webhook_id: str, *, overlap_s: float = 86_400.0) -> Webhook:
        """Replace the ``secret``, shown once; previous ones sign beside it for ``overlap_s`` seconds."""
        return self._post(f"/v1/webhooks/{webhook_id}/rotate-secret", Webhook, {"overlap_s": overlap_s})

    def deliveries(self, webhook_id: str, *, state: DeliveryState | None = None) -> Iterator[Delivery]:
        """Return the deliveries of a webhook with their attempts, newest first."""
        return self._items(f"/v1/webhooks/{webhook_id}/deliveries", Delivery, state=state)

    def delivery(self, delivery_id: str) -> DeliveryWithPayload:
        """Return one delivery with its attempts and the body that is sent."""
        return self._get(f"/v1/deliveries/{delivery_id}", DeliveryWithPayload)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a finished delivery again, under the same id, or try one that waits for its next attempt at once."""
        return self._post(f"/v1/deliveries/{delivery_id}/redeliver", Delivery, {})
