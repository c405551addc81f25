"""The use cases of alerts: an upload, a person, the clock or the end of a run changes the alerts of one locked run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine.schemas.alert import AlertEventName, Kind, severity_rank
from relumine.schemas.base import rfc3339
from relumine.schemas.watching import Watching
from relumine_server.alerts import run_alerts, stall_detection, unwatched
from relumine_server.alerts.lifecycle import ENDED_RUN_STATUSES, KINDS_WITH_PENDING, FinalStatus, event_for_finding
from relumine_server.alerts.repository import AlertRecord
from relumine_server.alerts.run_alerts import Enqueue, RunAlerts
from relumine_server.alerts.stall_detection import CLOCK_TOLERANCE, Heartbeat
from relumine_server.alerts.status import AlertEvent, AlertStatus
from relumine_server.alerts.timings import AlertTimings
from relumine_server.detection import messages
from relumine_server.detection.findings import Finding
from relumine_server.errors import AlertAcknowledged, AlertNotFound, AlertResolved, IncidentNotFound, RunNotFound
from relumine_server.outbox import alert_refs
from relumine_server.outbox import enqueue as outbox
from relumine_server.runs import repository as run_repository
from relumine_server.runs.rows import LockedRun

RECOVERED_REASON = "it reports again"


class UploadEffect(NamedTuple):
    """The effect of an upload on its run, besides its findings.

    ``step`` is the last step of the run. ``resumes``: the upload begins a new session of a run that had ended.
    ``is_latest``: it is the newest of its run, so the run is alive; False for one that came late. ``watching``: whether
    the training is being watched, where that has changed.
    """

    step: int
    resumes: bool = False
    is_latest: bool = False
    final_status: FinalStatus | None = None
    watching: Watching | None = None


class AlertService:
    """Changes alerts, each call within the transaction of its ``connection``; ``enqueue`` writes to the outbox."""

    def __init__(self, enqueue: Enqueue = outbox.enqueue) -> None:
        self._enqueue = enqueue

    def apply_upload(
        self,
        connection: sa.Connection,
        run: LockedRun,
        findings: Sequence[Finding],
        effect: UploadEffect,
        now: datetime,
    ) -> list[str]:
        """Apply an upload to the alerts of its run; return the ids of those that changed, most severe first.

        ``run`` is its locked row as it was before the upload.
        """
        ended_before = None if effect.resumes else _final_status(run)
        final_status = effect.final_status or ended_before
        recovers = effect.is_latest and run.has_stalled_alert
        if not (findings or effect.final_status or effect.resumes or recovers or effect.watching):
            return []
        with self._locked(connection, run, now) as alerts:
            if effect.resumes:
                _reopen(alerts, effect.step)
            if recovers:
                _clear_stalled(alerts, effect.step)
            if effect.watching is not None:
                _apply_watching(alerts, effect.watching, effect.step)
            for finding in findings:
                _apply_finding(alerts, finding)
            if final_status is not None:
                _end_all(alerts, final_status, effect.step)
            if effect.final_status is not None and ended_before is None:
                alerts.finish_run()
        return alerts.changed_ids

    def acknowledge(self, connection: sa.Connection, alert_id: str, author: str, note: str, now: datetime) -> None:
        """Acknowledge an alert. The first person keeps it; repeating it changes nothing.

        Raises AlertNotFound, AlertResolved, and AlertAcknowledged where another person has it.
        """
        with self._locked_alert(connection, alert_id, now) as (alerts, alert):
            status = alert.status
            if status is not None and status.state == "acknowledged":
                if status.acknowledged_by == author:
                    return
                raise AlertAcknowledged(f"{status.acknowledged_by} has it since {rfc3339(status.acknowledged_at)}")
            event = AlertEvent("acknowledged", now, _current_step(alerts, alert), author=author, note=note)
            if not alerts.apply(alert, event):
                raise AlertResolved

    def resolve(self, connection: sa.Connection, alert_id: str, author: str, note: str, now: datetime) -> None:
        """Resolve an alert for a person. It regresses when the detector raises it again, or finds it worse.

        Raises AlertNotFound, AlertResolved.
        """
        with self._locked_alert(connection, alert_id, now) as (alerts, alert):
            event = AlertEvent("resolved_by_user", now, _current_step(alerts, alert), author=author, note=note)
            if not alerts.apply(alert, event):
                raise AlertResolved

    def change_incident(
        self,
        connection: sa.Connection,
        incident_id: str,
        change: Callable[[RunAlerts, Sequence[AlertRecord]], None],
        now: datetime,
    ) -> None:
        """Change the alerts of an incident. Raises IncidentNotFound, and what ``change`` raises."""
        run = run_repository.lock(connection, alert_refs.run_of(incident_id))
        if run is None:
            raise IncidentNotFound
        with self._locked(connection, run, now) as alerts:
            members = [alert for alert in alerts.records if alert.incident_id == incident_id]
            if not members:
                raise IncidentNotFound
            change(alerts, members)

    def end_run(self, connection: sa.Connection, run_id: str, final_status: FinalStatus, now: datetime) -> None:
        """End a run for a person or the clock: set its status, end its open alerts, notify once.

        A run that had ended only changes its status. Raises RunNotFound.
        """
        run = run_repository.lock(connection, run_id)
        if run is None:
            raise RunNotFound
        run_repository.update(connection, run_id, {"status": final_status, "finished_at": now, "updated_at": now})
        with self._locked(connection, run, now) as alerts:
            _end_all(alerts, final_status, run.last_step or 0)
            if run.status not in ENDED_RUN_STATUSES:
                alerts.finish_run()

    def update_suppression(self, connection: sa.Connection, run_id: str, now: datetime) -> int:
        """Apply a change of silences to a run; return the number of notifications that are no longer held back."""
        run = run_repository.lock(connection, run_id)
        if run is None:
            return 0
        with self._locked(connection, run, now) as alerts:
            pass  # the end of the block updates the suppression of every open alert
        return alerts.notification_count

    def evaluate_run(self, connection: sa.Connection, run_id: str, timings: AlertTimings, now: datetime) -> int:
        """Apply what is due by the clock: stalls, elapsed pending periods, repeats; return the number of notifications.

        Calling it again at the same time changes nothing.
        """
        run = run_repository.lock(connection, run_id)
        if run is None:
            return 0
        with self._locked(connection, run, now, timings) as alerts:
            if run.status == "running" and run.last_heartbeat_at is not None:
                _check_stalled(alerts, Heartbeat(run.last_heartbeat_at, run.longest_gap_s), timings)
            for alert in alerts.records:
                _confirm_pending(connection, alerts, alert, timings)
        return alerts.notification_count

    def _locked(
        self, connection: sa.Connection, run: LockedRun, now: datetime, timings: AlertTimings | None = None
    ) -> AbstractContextManager[RunAlerts]:
        return run_alerts.locked(connection, run, now, enqueue=self._enqueue, timings=timings)

    @contextmanager
    def _locked_alert(
        self, connection: sa.Connection, alert_id: str, now: datetime
    ) -> Iterator[tuple[RunAlerts, AlertRecord]]:
        run = run_repository.lock(connection, alert_refs.run_of(alert_id))
        if run is None:
            raise AlertNotFound
        with self._locked(connection, run, now) as alerts:
            alert = alerts.get(alert_id)
            if alert is None:
                raise AlertNotFound
            yield alerts, alert


def _apply_finding(alerts: RunAlerts, finding: Finding) -> None:
    alert = alerts.get_or_new(finding.layer_id, finding.kind)
    alert.layer = finding.layer
    alert.layer_label = finding.layer_label or finding.layer
    name = event_for_finding(finding.kind, finding.transition, finding.severity, alert.status, alert.kind)
    if name == "cleared":
        alerts.apply(alert, AlertEvent(name, alerts.now, finding.step, note=finding.reason or ""))
        return
    severity = finding.severity
    if name == "escalated" and alert.status is not None:
        severity = max(severity, alert.status.severity, key=severity_rank)
    note = f"{finding.kind}, {severity}, {finding.cause}".replace("_", " ")
    event = AlertEvent(name, alerts.now, finding.step, severity, note=note, kind=finding.kind)
    alerts.apply(alert, event, _alert_content(alerts.run, replace(finding, severity=severity)))


def _reopen(alerts: RunAlerts, step: int) -> None:
    """Reopen what was open when the run ended: the detector does not raise it a second time."""
    for alert in alerts.records:
        if alert.status is None or alert.status.state != "ended":
            continue
        if alert.kind == "stalled":
            _clear_stalled(alerts, step)
            continue
        alerts.apply(alert, AlertEvent(_reopening(alert.status, alert.kind), alerts.now, step, note="the run goes on"))


def _reopening(status: AlertStatus, kind: Kind) -> AlertEventName:
    """Return the event by which an alert goes on: a person who works on it does so still."""
    if status.acknowledged_by is not None:
        return "resumed_acknowledged"
    return "pending" if kind in KINDS_WITH_PENDING else "run_resumed"


def _apply_watching(alerts: RunAlerts, watching: Watching, step: int) -> None:
    """Raise or clear the alert that the training goes on without being watched."""
    if watching.reason is not None:
        _apply_finding(alerts, unwatched.finding(watching.reason, watching.last_step, step))
        return
    event = AlertEvent("cleared", alerts.now, step, note=unwatched.RECOVERED_REASON)
    alerts.apply(alerts.get_or_new(0, "no_data"), event)


def _final_status(run: LockedRun) -> FinalStatus | None:
    return run.status if run.status in ENDED_RUN_STATUSES else None


def _clear_stalled(alerts: RunAlerts, step: int) -> None:
    alerts.apply(alerts.get_or_new(0, "stalled"), AlertEvent("cleared", alerts.now, step, note=RECOVERED_REASON))


def _end_all(alerts: RunAlerts, final_status: FinalStatus, step: int) -> None:
    event = AlertEvent("run_ended", alerts.now, step, note=f"the run {final_status}")
    alerts.apply_to_all(event, lambda alert: alert.is_open)


def _current_step(alerts: RunAlerts, alert: AlertRecord) -> int:
    opened_step = alert.status.opened_step if alert.status is not None else 0
    return max(opened_step, alerts.run.last_step or 0)


def _check_stalled(alerts: RunAlerts, heartbeat: Heartbeat, timings: AlertTimings) -> None:
    """Raise a pending alert where the run has been silent for longer than it may."""
    timeout_s = timings.stall_timeout.total_seconds()
    if not stall_detection.is_stalled(heartbeat, alerts.now, timeout_s, timings.observed_since):
        return
    status = alerts.get_or_new(0, "stalled").status
    if status is not None:
        resolved_since = status.resolved_by == "person" and status.state_changed_at > heartbeat.last_at
        if status.is_open or resolved_since:
            return  # it is raised already, or a person resolved it during this very silence
    last_step = alerts.run.last_step or 0
    finding = stall_detection.finding(heartbeat, alerts.now, last_step, timeout_s, timings.observed_since)
    _apply_finding(alerts, finding)


def _confirm_pending(connection: sa.Connection, alerts: RunAlerts, alert: AlertRecord, timings: AlertTimings) -> None:
    status = alert.status
    if status is None or status.state != "pending":
        return
    pending_since = status.state_changed_at
    if alert.kind == "stalled" and timings.observed_since is not None:  # the run could not report in between
        pending_since = max(pending_since, timings.observed_since)
    is_from_future = status.state_changed_at > alerts.now + CLOCK_TOLERANCE  # stored by a clock that was ahead
    if pending_since + timings.pending_for > alerts.now and not is_from_future:
        return
    name: AlertEventName = "regressed" if status.regression_count else "confirmed"
    note = "the pending period is over"
    alerts.apply(alert, AlertEvent(name, alerts.now, _current_step(alerts, alert), note=note))
    if alert.kind == "stalled":
        run_repository.update(connection, alerts.run.run_id, {"status": "stalled", "updated_at": alerts.now})


def _alert_content(run: LockedRun, finding: Finding) -> dict[str, Any]:
    """Return the content columns of an alert: the finding in numbers and in words."""
    values = finding.as_dict()
    label = f"{run.project}/{run.name or run.run_id[:13]}"
    is_upstream = finding.cause == "upstream_collapse"
    return {
        "kind": finding.kind,
        "cause": finding.cause,
        "confidence": finding.confidence,
        "title": messages.title(finding),
        "message": messages.message(finding, label),
        "evidence": values["evidence"],
        "forecast": values["forecast"],
        "remedies": list(values["remedies"]),
        "upstream": values["evidence"].get("upstream") if is_upstream else None,
    }
