"""The rules by which receivers are notified of an alert. Pure.

A receiver that was notified that an alert fires is notified of its end, whatever suppresses the alert by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from relumine.schemas.webhook import WebhookFormat
from relumine_server.alerts.lifecycle import FIRING_STATES, NotificationKind
from relumine_server.alerts.status import AlertStatus

NOTIFICATION_ORDER: tuple[NotificationKind, ...] = ("firing", "acknowledged", "resolved", "expired")
"""The order in which the notifications of one transaction are sent."""
EVENT_OF: Mapping[NotificationKind, str] = MappingProxyType(
    {
        "firing": "alert.firing",
        "acknowledged": "alert.acknowledged",
        "resolved": "alert.resolved",
        "expired": "alert.resolved",
    }
)
"""The webhook event of each notification."""
ONLY_FORMAT: Mapping[NotificationKind, WebhookFormat] = MappingProxyType({"expired": "alertmanager"})
"""Notifications that receivers of one format need: without an end, an Alertmanager holds an alert open for ever."""


class NotificationDecision(NamedTuple):
    """The notifications to send, in order, and the status once they are in the outbox."""

    status: AlertStatus
    notifications: tuple[NotificationKind, ...]


def decide_notifications(
    status: AlertStatus, now: datetime, *, fired_now: bool = False, acknowledged_now: bool = False
) -> NotificationDecision:
    """Return the notifications that are due after all events of one transaction.

    Args:
        status: the alert after the events.
        now: the time of the transaction.
        fired_now: the alert began to fire in this transaction.
        acknowledged_now: the alert was acknowledged in this transaction.
    """
    if status.state in FIRING_STATES:
        return _firing_notification(status, now)
    was_notified = status.firing_notified_at is not None
    settled = replace(status, notification_due=False) if status.notification_due else status
    if status.state == "acknowledged":
        return NotificationDecision(settled, ("acknowledged",) if acknowledged_now and was_notified else ())
    if status.state == "ended":  # its problem is not over, so there is nothing to send unless it began just now
        return _firing_notification(status, now) if fired_now else NotificationDecision(settled, ())
    if was_notified:
        return NotificationDecision(replace(settled, firing_notified_at=None), ("resolved",))
    if status.state == "resolved" and status.notification_due and fired_now and not status.is_suppressed:
        return NotificationDecision(settled, ("firing", "resolved"))  # it fired and ended within one upload
    return NotificationDecision(settled, ())


def _firing_notification(status: AlertStatus, now: datetime) -> NotificationDecision:
    if not status.notification_due or status.is_suppressed:
        return NotificationDecision(status, ())
    return NotificationDecision(replace(status, firing_notified_at=now, notification_due=False), ("firing",))


def is_expiry_due(status: AlertStatus, now: datetime, expires_after: timedelta) -> bool:
    """Return True where the run of an alert that receivers consider firing ended that long ago."""
    if status.state != "ended" or status.ended_at is None or status.firing_notified_at is None:
        return False
    return status.ended_at + expires_after <= now


def is_repeat_due(status: AlertStatus, now: datetime, repeat_interval: timedelta) -> bool:
    """Return True where an alert fires unacknowledged for so long that its notification is repeated."""
    if status.state not in FIRING_STATES or status.severity == "info":
        return False
    if status.notification_due or status.is_suppressed or status.firing_notified_at is None:
        return False
    return status.firing_notified_at + repeat_interval <= now
