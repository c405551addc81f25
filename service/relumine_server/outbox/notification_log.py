"""The log of which alerts each webhook was notified of as firing, by run.

Alerts change while a notification waits, so the log decides what is still relevant when its payload is written. A
webhook is sent that an alert was resolved or acknowledged where it was sent that the alert fires; an alert that was
resolved before its firing was sent is not sent at all. One whose run ended meanwhile is: its problem is not over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.alert import OPEN_STATES, Severity
from relumine_server.db import dialect, tables
from relumine_server.outbox import alert_refs
from relumine_server.outbox.alert_refs import AlertRef, AlertRefs
from relumine_server.outbox.endpoints import WebhookRow

FIRING = "alert.firing"
RESOLVED = "alert.resolved"

_a = tables.alerts.c
_log = tables.notification_log.c


class AlertSnapshot(NamedTuple):
    """The status of an alert, without its texts: of ten thousand alerts only the most severe are read in full."""

    alert_id: str
    layer_id: int
    kind: str
    state: str
    severity: Severity
    confidence: float

    @property
    def ref(self) -> AlertRef:
        """The reference to it within its run."""
        return alert_refs.ref_of(self.alert_id)


_SNAPSHOT = sa.select(*(_a[name] for name in AlertSnapshot._fields))


def still_relevant(
    connection: sa.Connection, event: str, run_id: str, webhook: WebhookRow, refs: AlertRefs
) -> list[AlertSnapshot]:
    """Return the alerts among ``refs`` for which the event still holds.

    A webhook that does not subscribe to firing alerts has no log; its alerts are selected by severity alone.
    """
    requested = alert_refs.unpack(alert_refs.readable(refs))
    alerts = (AlertSnapshot(*row) for row in connection.execute(_SNAPSHOT.where(_a.run_id == run_id)))
    candidates = [alert for alert in alerts if alert.ref in requested]
    notified = None
    if event != FIRING and FIRING in webhook.events:
        notified = _firing_alerts(connection, run_id, webhook.webhook_id)
    return [alert for alert in candidates if _is_relevant(alert, event, notified, webhook)]


def record(connection: sa.Connection, event: str, run_id: str, webhook_id: str, sent: Sequence[AlertSnapshot]) -> None:
    """Store that a webhook is notified of these alerts as firing, or as resolved."""
    if event not in {FIRING, RESOLVED}:
        return
    previous = _firing_alerts(connection, run_id, webhook_id)
    changed = {alert.ref for alert in sent}
    updated = previous | changed if event == FIRING else previous - changed
    if updated == previous:
        return
    row = {"run_id": run_id, "webhook_id": webhook_id, "firing_alerts": alert_refs.pack(updated)}
    statement = dialect.insert(connection, tables.notification_log).values(**row)
    replaced = {"firing_alerts": statement.excluded["firing_alerts"]}
    connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "webhook_id"], set_=replaced))


def ended_alerts(connection: sa.Connection, run_id: str, webhook: WebhookRow) -> list[AlertSnapshot]:
    """Return the alerts that ended with their run and that this webhook was notified of as firing."""
    notified = _firing_alerts(connection, run_id, webhook.webhook_id)
    ended = _SNAPSHOT.where(_a.run_id == run_id, _a.state == "ended")
    alerts = (AlertSnapshot(*row) for row in connection.execute(ended))
    return [alert for alert in alerts if alert.ref in notified]


def _is_relevant(alert: AlertSnapshot, event: str, notified: set[AlertRef] | None, webhook: WebhookRow) -> bool:
    if event == FIRING:
        holds = alert.state in OPEN_STATES or alert.state == "ended"
        return holds and alert_refs.at_least(alert.severity, webhook.min_severity)
    has_expired = event == RESOLVED and alert.state == "ended" and webhook.format == "alertmanager"
    if alert.state != event.removeprefix("alert.") and not has_expired:
        return False
    if notified is None:
        return alert_refs.at_least(alert.severity, webhook.min_severity)
    return alert.ref in notified


def _firing_alerts(connection: sa.Connection, run_id: str, webhook_id: str) -> set[AlertRef]:
    query = sa.select(_log.firing_alerts).where(_log.run_id == run_id, _log.webhook_id == webhook_id)
    return alert_refs.unpack(connection.scalar(query) or {})
