"""Renders the payload of a delivery, once: every attempt and every redelivery carries the same payload.

It reports what holds when it is rendered. Up to ten thousand alerts are read in a read transaction, so that no writer
waits. A draft is stored only where the delivery has not changed since it was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.schemas.alert import Alert
from relumine_server.alerts import queries as alert_queries
from relumine_server.errors import RunNotFound
from relumine_server.outbox import enqueue as outbox
from relumine_server.outbox import notification_log
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.outbox.notification_log import AlertSnapshot
from relumine_server.webhooks import run_summary
from relumine_server.webhooks.formats import render_body
from relumine_server.webhooks.formats.alertmanager import MAX_API_ALERTS
from relumine_server.webhooks.formats.standard import MAX_ALERTS
from relumine_server.webhooks.notification import DisabledWebhook, Notification, by_severity

_MAX_ALERTS_OF_FORMAT = {"alertmanager": MAX_API_ALERTS}
"""Alerts that a format carries where it carries more than ``MAX_ALERTS``. Only these are read in full."""


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery whose payload is not rendered yet."""

    delivery_id: str
    event: str
    run_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PayloadDraft:
    """A payload that is not stored yet.

    ``text`` is None where nothing is left to report. ``revision`` is the revision of the delivery that was rendered,
    ``alerts`` are the alerts reported. ``is_stored`` is True where another process has stored the payload already.
    """

    text: str | None
    revision: int
    alerts: Sequence[AlertSnapshot] = ()
    is_stored: bool = False


def render(
    connection: sa.Connection, delivery: PendingDelivery, webhook: WebhookRow, base_url: str
) -> PayloadDraft | None:
    """Return the payload as of now, or None where the delivery was deleted. Only reads."""
    content = outbox.read_content(connection, delivery.delivery_id)
    if content is None:
        return None
    if content.payload is not None:
        return PayloadDraft(content.payload, content.revision, is_stored=True)
    alerts: Sequence[AlertSnapshot] = ()
    if delivery.event.startswith("alert."):
        alerts = notification_log.still_relevant(
            connection, delivery.event, delivery.run_id, webhook, content.alert_refs
        )
        notification = _alert_notification(connection, delivery, webhook, alerts, base_url)
    elif delivery.event == "run.finished":
        notification = _run_notification(connection, delivery, webhook, base_url)
    else:
        notification = _webhook_notification(delivery, content.alert_refs, base_url)
    text = None if notification is None else render_body(webhook.format, notification, url=webhook.url)
    return PayloadDraft(text, content.revision, alerts)


def save(
    connection: sa.Connection, delivery: PendingDelivery, webhook: WebhookRow, draft: PayloadDraft, now: datetime
) -> bool:
    """Store a draft as the payload, or cancel the delivery where nothing is left to report.

    Returns False and changes nothing where the delivery has changed since the draft was rendered.
    """
    if draft.is_stored:
        return True
    if draft.text is None:
        return outbox.supersede(connection, delivery.delivery_id, now, revision=draft.revision)
    alert_count = len(draft.alerts)
    is_current = outbox.store_payload(
        connection, delivery.delivery_id, draft.text, alert_count=alert_count, revision=draft.revision
    )
    if is_current:
        notification_log.record(connection, delivery.event, delivery.run_id, webhook.webhook_id, draft.alerts)
    return is_current


def _alert_notification(
    connection: sa.Connection,
    delivery: PendingDelivery,
    webhook: WebhookRow,
    alerts: Sequence[AlertSnapshot],
    base_url: str,
) -> Notification | None:
    limit = _MAX_ALERTS_OF_FORMAT.get(webhook.format, MAX_ALERTS)
    alert_ids = [alert.alert_id for alert in by_severity(alerts)[:limit]]
    reported = alert_queries.find(connection, delivery.run_id, alert_ids, base_url)
    if not reported:
        return None
    return Notification(delivery.event, delivery.created_at, reported, total=len(alerts), url=reported[0].run.url)


def _run_notification(
    connection: sa.Connection, delivery: PendingDelivery, webhook: WebhookRow, base_url: str
) -> Notification | None:
    """Return the notification of a run's end; an Alertmanager also gets its alerts that hold on."""
    try:
        summary = run_summary.summarize(connection, delivery.run_id, base_url)
    except RunNotFound:
        return None
    ended: list[Alert] = []
    if webhook.format == "alertmanager":
        snapshots = notification_log.ended_alerts(connection, delivery.run_id, webhook)
        alert_ids = [alert.alert_id for alert in by_severity(snapshots)[:MAX_API_ALERTS]]
        ended = alert_queries.find(connection, delivery.run_id, alert_ids, base_url)
    return Notification(delivery.event, delivery.created_at, ended, total=len(ended), url=summary.url, summary=summary)


def _webhook_notification(delivery: PendingDelivery, subject: dict[str, Any], base_url: str) -> Notification:
    disabled = DisabledWebhook(**subject) if delivery.event == "webhook.disabled" else None
    url = f"{base_url}/#/settings/webhooks"
    return Notification(delivery.event, delivery.created_at, (), total=0, url=url, webhook=disabled)
