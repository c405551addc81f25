"""Actions of people on all alerts of an incident at once, within the transaction of their locked run."""

from __future__ import annotations

from collections.abc import Sequence

from relumine.schemas.base import rfc3339
from relumine_server.alerts.repository import AlertRecord
from relumine_server.alerts.run_alerts import RunAlerts
from relumine_server.alerts.status import AlertEvent
from relumine_server.errors import AlertAcknowledged, IncidentResolved


def acknowledge(alerts: RunAlerts, members: Sequence[AlertRecord], author: str, note: str) -> None:
    """Acknowledge the open alerts of an incident; those that a person has acknowledged stay that person's.

    Repeating it changes nothing. Raises IncidentResolved where no alert is open, and AlertAcknowledged where all that
    are open are acknowledged and one of them by another person.
    """
    statuses = [alert.status for alert in members if alert.status is not None and alert.is_open]
    if not statuses:
        raise IncidentResolved
    if all(status.state == "acknowledged" for status in statuses):
        for status in statuses:
            if status.acknowledged_by != author:
                raise AlertAcknowledged(f"{status.acknowledged_by} has it since {rfc3339(status.acknowledged_at)}")
        return
    for alert in members:
        if alert.is_open:
            alerts.apply(alert, AlertEvent("acknowledged", alerts.now, _step(alerts, alert), author=author, note=note))


def resolve(alerts: RunAlerts, members: Sequence[AlertRecord], author: str, note: str) -> None:
    """Resolve the alerts of an incident that are open, or that ended with their run.

    Each regresses by itself when the detector raises it again, or finds it worse. Raises IncidentResolved where there
    is none.
    """
    changes = []
    for alert in members:
        event = AlertEvent("resolved_by_user", alerts.now, _step(alerts, alert), author=author, note=note)
        changes.append(alerts.apply(alert, event))
    if not any(changes):
        raise IncidentResolved


def _step(alerts: RunAlerts, alert: AlertRecord) -> int:
    opened_step = alert.status.opened_step if alert.status is not None else 0
    return max(opened_step, alerts.run.last_step or 0)
