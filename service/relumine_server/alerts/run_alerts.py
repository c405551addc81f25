"""The alerts of one run in one transaction: loaded, changed by events, written together with their notifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from relumine.schemas.alert import Kind, Severity, severity_rank
from relumine.schemas.health import Problem, counts, problem_health
from relumine.schemas.webhook import WebhookFormat
from relumine_server.alerts import repository as alert_repository
from relumine_server.alerts import silences
from relumine_server.alerts.incidents import is_firing, notified_members
from relumine_server.alerts.lifecycle import NotificationKind, transition
from relumine_server.alerts.notifications import (
    EVENT_OF,
    NOTIFICATION_ORDER,
    ONLY_FORMAT,
    decide_notifications,
    is_expiry_due,
    is_repeat_due,
)
from relumine_server.alerts.repository import AlertRecord
from relumine_server.alerts.run_incidents import RunIncidents, by_incident
from relumine_server.alerts.status import DEAD_KINDS, AlertEvent, AlertStatus
from relumine_server.alerts.suppression import Inhibitor, matchable_labels, silenced_by
from relumine_server.alerts.timings import AlertTimings
from relumine_server.outbox import alert_refs
from relumine_server.runs import health
from relumine_server.runs import repository as run_repository
from relumine_server.runs.health import Evidence
from relumine_server.runs.rows import LockedRun

LOSSES_OF_UNITS: tuple[Kind, ...] = ("dying", "born_dead")
"""The problems of a layer that starve the layers behind it."""


class Enqueue(Protocol):
    """Writes a notification to the outbox, in the transaction of ``connection``."""

    def __call__(  # noqa: PLR0913 - each by name
        self,
        connection: sa.Connection,
        *,
        event: str,
        run_id: str,
        project: str,
        alerts: Sequence[tuple[str, Severity]],
        now: datetime,
        only_format: WebhookFormat | None,
    ) -> int:
        """Write the deliveries of an event about alerts, as (alert_id, severity); return the number of webhooks."""
        ...


@contextmanager
def locked(
    connection: sa.Connection,
    run: LockedRun,
    now: datetime,
    *,
    enqueue: Enqueue,
    timings: AlertTimings | None = None,
) -> Iterator[RunAlerts]:
    """Give the alerts of a run whose row is locked; write them at the end of the block.

    Where the block raises, nothing is written. With ``timings`` the notifications that the clock alone calls for are
    sent as well: repeats for unacknowledged alerts, and the end of alerts whose run ended long ago.
    """
    alerts = RunAlerts(connection, run, now)
    yield alerts
    alerts.flush(enqueue, timings)


class RunAlerts:
    """All alerts of a locked run. ``locked`` opens and writes them."""

    def __init__(self, connection: sa.Connection, run: LockedRun, now: datetime) -> None:
        self.run = run
        self.now = now
        self.notification_count = 0
        """Notifications about single alerts that ``flush`` wrote to the outbox."""
        self._connection = connection
        self._records = alert_repository.load_alerts(connection, run.run_id)
        self._incidents = RunIncidents(connection, run, now)
        self._changed: dict[str, AlertRecord] = {}
        self._run_has_finished = False

    @property
    def records(self) -> list[AlertRecord]:
        """All alerts, in the order of layers."""
        return list(self._records.values())

    @property
    def changed_ids(self) -> list[str]:
        """The ids of the alerts that an event was applied to, most severe first."""
        by_severity = sorted(self._changed.values(), key=_severity_rank, reverse=True)
        return [alert.alert_id for alert in by_severity]

    def get(self, alert_id: str) -> AlertRecord | None:
        """Return an alert by its id."""
        return self._records.get(alert_id)

    def get_or_new(self, layer_id: int, kind: Kind) -> AlertRecord:
        """Return the one alert of a layer and kind; a new one has no status until an event is applied to it."""
        alert_id = alert_refs.alert_id(self.run.run_id, layer_id, kind)
        return self._records.get(alert_id) or AlertRecord(alert_id, layer_id, kind)

    def apply(self, alert: AlertRecord, event: AlertEvent, content: Mapping[str, Any] | None = None) -> bool:
        """Apply an event to an alert and renew its content; False where its state does not allow the event."""
        if event.name == "cleared" and not alert.holds:
            return False
        result = transition(alert.status, event)
        if result is None:
            return False
        begins = alert.status is None or alert.status.state == "resolved"
        alert.status = result.status
        if content is not None:
            alert.content = content
            alert.kind = content["kind"]
            alert.cause = content["cause"]
            alert.upstream = content["upstream"] or ()
        if begins:
            self._incidents.assign(alert, alert.status, self._upstream_incidents(alert))
        if result.log_entry is not None:
            alert.log_entries.append(result.log_entry)
        alert.fired_now |= result.notification == "firing"
        alert.acknowledged_now |= result.notification == "acknowledged"
        self._records[alert.alert_id] = alert
        self._changed[alert.alert_id] = alert
        return True

    def _upstream_incidents(self, alert: AlertRecord) -> set[str]:
        """Return the incidents of the lost layers that an alert is starved by."""
        upstream = set(alert.upstream) - {alert.layer_id}
        lost = [self.get_or_new(layer_id, kind) for layer_id in upstream for kind in LOSSES_OF_UNITS]
        return {other.incident_id for other in lost if other.holds}

    def apply_to_all(self, event: AlertEvent, condition: Callable[[AlertRecord], bool]) -> None:
        """Apply one event to every alert that meets a condition."""
        for alert in self.records:
            if condition(alert):
                self.apply(alert, event)

    def finish_run(self) -> None:
        """Notify, after everything else, that the run has finished."""
        self._run_has_finished = True

    def flush(self, enqueue: Enqueue, timings: AlertTimings | None) -> None:
        """Update suppression, write all alerts and incidents, and enqueue one notification for each event."""
        self._update_suppression()
        self._choose_firing_notifications(timings)
        notified: dict[NotificationKind, list[tuple[str, Severity]]] = {kind: [] for kind in NOTIFICATION_ORDER}
        for alert in self._records.values():
            if alert.status is not None:
                severity = alert.status.severity
                for kind in self._notifications(alert, alert.status, timings):
                    notified[kind].append((alert.alert_id, severity))
        alert_repository.save_alerts(self._connection, self.run, self.records, self.now)
        self._incidents.save(self.records)
        self._save_health()
        for kind, alerts in notified.items():
            if alerts:
                self._enqueue(enqueue, EVENT_OF[kind], alerts, only_format=ONLY_FORMAT.get(kind))
        if self._run_has_finished:
            self._enqueue(enqueue, "run.finished", [])
        self.notification_count = sum(map(len, notified.values()))

    def _save_health(self) -> None:
        """Store what the alerts mean for the health of the run, where that has changed."""
        holding = [alert for alert in self._records.values() if alert.holds]
        counted = [alert for alert in holding if alert.status and counts(alert.kind, alert.status.severity)]
        problems = problem_health([Problem(alert.kind, alert.layer_label) for alert in counted])
        layers_dead = len({alert.layer_id for alert in counted if alert.kind in DEAD_KINDS})
        if (problems, layers_dead) == (self.run.problems, self.run.layers_dead):
            return
        row = run_repository.get(self._connection, self.run.run_id)
        evidence = Evidence(*(getattr(row, name) for name in Evidence._fields))
        values = health.columns(problems, evidence)
        run_repository.update(self._connection, self.run.run_id, {**values, "layers_dead": layers_dead})

    def _enqueue(
        self,
        enqueue: Enqueue,
        event: str,
        alerts: Sequence[tuple[str, Severity]],
        *,
        only_format: WebhookFormat | None = None,
    ) -> None:
        enqueue(
            self._connection,
            event=event,
            run_id=self.run.run_id,
            project=self.run.project,
            alerts=alerts,
            now=self.now,
            only_format=only_format,
        )

    def _update_suppression(self) -> None:
        """Set which alert inhibits and which silence holds each open alert, as of now."""
        open_alerts = [
            (alert, alert.status) for alert in self._records.values() if alert.status is not None and alert.is_open
        ]
        if not open_alerts:
            return
        inhibitor = Inhibitor(alert.inhibition_input(status) for alert, status in open_alerts)
        active_silences = silences.active(self._connection, self.now)
        for alert, status in open_alerts:
            inhibited_by = inhibitor.inhibited_by(alert.inhibition_input(status))
            silence_id = None
            if active_silences:
                labels = matchable_labels(
                    self.run,
                    alert.incident_id,
                    alert.layer,
                    kind=alert.kind,
                    severity=status.severity,
                    cause=alert.cause,
                )
                silence_id = silenced_by(active_silences, labels, self.now)
            if (inhibited_by, silence_id) != (status.inhibited_by, status.silenced_by):
                alert.status = replace(status, inhibited_by=inhibited_by, silenced_by=silence_id)

    def _choose_firing_notifications(self, timings: AlertTimings | None) -> None:
        """Set which firing alerts are notified of: receivers get one notification for an incident and each change.

        The other alerts of an incident that receivers were notified of are held back.
        """
        repeats = set()
        if timings is not None:
            repeats = {alert.alert_id for alert in self._records.values() if self._is_repeat_due(alert, timings)}
        for members in by_incident(self._records.values(), repeats).values():
            notified_ids = notified_members(members)
            for member in members:
                alert = self._records[member.alert_id]
                is_due = member.alert_id in notified_ids
                if is_firing(member) and not member.status.is_suppressed and member.status.notification_due != is_due:
                    alert.status = replace(member.status, notification_due=is_due)

    def _is_repeat_due(self, alert: AlertRecord, timings: AlertTimings) -> bool:
        return alert.status is not None and is_repeat_due(alert.status, self.now, timings.repeat_interval)

    def _notifications(
        self, alert: AlertRecord, status: AlertStatus, timings: AlertTimings | None
    ) -> tuple[NotificationKind, ...]:
        """Return the notifications that are due for an alert, and record in its status that they are sent."""
        decision = decide_notifications(
            status, self.now, fired_now=alert.fired_now, acknowledged_now=alert.acknowledged_now
        )
        alert.status = decision.status
        if decision.notifications or timings is None:
            return decision.notifications
        if is_expiry_due(decision.status, self.now, timings.ended_resolve_after):
            alert.status = replace(decision.status, firing_notified_at=None)
            return ("expired",)
        return ()


def _severity_rank(alert: AlertRecord) -> int:
    return -1 if alert.status is None else severity_rank(alert.status.severity)
