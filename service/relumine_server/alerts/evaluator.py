"""The evaluator: changes alerts by the clock alone, for stalls, pending periods, silences that end and repeats.

Several processes may evaluate at once. The queries here only select runs; what is due is decided again under the lock
of the run, so that it is done once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from relumine_server.alerts import silences, stall_detection
from relumine_server.alerts.lifecycle import FIRING_STATES
from relumine_server.alerts.service import AlertService
from relumine_server.alerts.stall_detection import CLOCK_TOLERANCE, Heartbeat
from relumine_server.alerts.suppression import matchable_labels, silenced_by
from relumine_server.alerts.timings import AlertTimings
from relumine_server.clock import Clock, Uptime
from relumine_server.db import tables
from relumine_server.db.database import Database
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.metrics import Metrics
from relumine_server.periodic import PeriodicWorker
from relumine_server.runs import retention
from relumine_server.settings import Settings

BATCH_SIZE = 500
"""Runs evaluated in one round."""
SILENCE_RETENTION = timedelta(days=30)
"""Age at which silences that ended are deleted."""

_a = tables.alerts.c
_r = tables.runs.c


class AlertEvaluator(PeriodicWorker):
    """Evaluates alerts in its thread (``start``), or one round at a time (``run_once``)."""

    def __init__(  # noqa: PLR0913 - the services it uses, each by name
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        *,
        on_notifications: Callable[[], None],
        alerts: AlertService | None = None,
        metrics: Metrics | None = None,
        uptime: Uptime | None = None,
    ) -> None:
        super().__init__("evaluator", settings.evaluation_interval_s, metrics or Metrics())
        self._database = database
        self._clock = clock
        self._on_notifications = on_notifications
        self._alerts = alerts or AlertService()
        self._timings = AlertTimings(
            stall_timeout=timedelta(seconds=settings.stall_timeout_s),
            pending_for=timedelta(seconds=settings.pending_for_s),
            repeat_interval=timedelta(seconds=settings.repeat_interval_s),
            ended_resolve_after=timedelta(seconds=settings.ended_resolve_after_s),
        )
        self._default_retention = retention.default(settings)
        self._uptime = uptime

    def run_once(self) -> int:
        """Do everything that is due now; return the number of notifications, and of runs that were ended."""
        now = self._clock()
        silences_ended_before = now - SILENCE_RETENTION
        with self._database.read() as connection:
            due = runs_due(connection, self._observed_timings(), now)
            may_delete = retention.may_delete_by_age(connection, self._uptime, now)
            abandoned = retention.abandoned(connection, self._default_retention, now) if may_delete else []
            has_old_silences = may_delete and silences.any_ended(connection, silences_ended_before)
        count = sum(self._for_each_run("evaluate_run", due, self._evaluate_run, limit=BATCH_SIZE))
        count += sum(self._for_each_run("end_abandoned_run", abandoned, self._end_abandoned_run, limit=BATCH_SIZE))
        if has_old_silences:
            delete = partial(silences.delete_ended, ended_before=silences_ended_before)
            self._isolate("delete_ended_silences", partial(self._database.write, delete))
        if count:
            self._on_notifications()
        return count

    def _round(self) -> None:
        self.run_once()

    def _evaluate_run(self, run_id: str) -> int:
        timings = self._observed_timings()
        evaluate = partial(self._alerts.evaluate_run, run_id=run_id, timings=timings, now=self._clock())
        return self._database.write(evaluate)

    def _observed_timings(self) -> AlertTimings:
        observed_since = None if self._uptime is None else self._uptime.since()
        return self._timings._replace(observed_since=observed_since)

    def _end_abandoned_run(self, run_id: str) -> int:
        """End a run as failed that stalled and has not reported since."""
        end = partial(self._alerts.end_run, run_id=run_id, final_status="failed", now=self._clock())
        self._database.write(end)
        return 1


def runs_due(connection: sa.Connection, timings: AlertTimings, now: datetime) -> list[str]:
    """Return the ids of the runs with something to do by the clock, each once."""
    run_ids = list(connection.scalars(_runs_with_due_alerts(timings, now)))
    run_ids += _stalled_runs(connection, timings, now)
    run_ids += runs_with_changed_silences(connection, now)
    return list(dict.fromkeys(run_ids))


def _runs_with_due_alerts(timings: AlertTimings, now: datetime) -> sa.Select[Any]:
    """Return the query for runs with an alert that was pending for long enough, or whose notification is due."""
    is_from_future = _a.state_changed_at > now + CLOCK_TOLERANCE
    is_elapsed = _a.state_changed_at <= now - timings.pending_for
    is_confirmed = sa.and_(_a.state == "pending", sa.or_(is_elapsed, is_from_future))
    is_firing = _a.state.in_(sorted(FIRING_STATES))
    is_unsuppressed = sa.and_(_a.inhibited_by.is_(None), _a.silenced_by.is_(None))
    is_repeat = sa.and_(
        _a.severity != "info",
        _a.notification_due.is_(False),
        _a.firing_notified_at <= now - timings.repeat_interval,
    )
    is_notification_due = sa.and_(is_firing, is_unsuppressed, sa.or_(is_repeat, _a.notification_due))
    has_expired = sa.and_(
        _a.state == "ended",
        _a.firing_notified_at.is_not(None),
        _a.ended_at <= now - timings.ended_resolve_after,
    )
    is_due = sa.or_(is_confirmed, is_notification_due, has_expired)
    return sa.select(_a.run_id).where(is_due).distinct().order_by(_a.run_id)


def _stalled_runs(connection: sa.Connection, timings: AlertTimings, now: datetime) -> list[str]:
    """Return running runs that have been silent for longer than they may and have no open alert for it."""
    has_open_alert = sa.exists().where(
        _a.run_id == _r.run_id, _a.layer_id == 0, _a.kind == "stalled", tables.alert_is_open
    )
    timeout = timings.stall_timeout
    is_from_future = _r.last_heartbeat_at > now + CLOCK_TOLERANCE
    may_be_silent = sa.or_(_r.last_heartbeat_at <= now - timeout, is_from_future)
    query = (
        sa.select(_r.run_id, _r.last_heartbeat_at, _r.longest_gap_s)
        .where(_r.status == "running", run_is_visible, may_be_silent, ~has_open_alert)
        .order_by(_r.run_id)
    )
    stalled = []
    for row in connection.execute(query):
        heartbeat = Heartbeat(row.last_heartbeat_at, row.longest_gap_s)
        if stall_detection.is_stalled(heartbeat, now, timeout.total_seconds(), timings.observed_since):
            stalled.append(row.run_id)
    return stalled


def runs_with_changed_silences(connection: sa.Connection, now: datetime) -> list[str]:
    """Return runs with open alerts whose stored silence is not the one that applies now."""
    active_silences = silences.active(connection, now)
    query = (
        sa.select(
            _a.run_id, _a.incident_id, _a.kind, _a.severity, _a.cause, _a.silenced_by,
            _r.project, _r.group_name, _r.name, tables.layers.c.name.label("layer"),
        )
        .join(tables.runs, _r.run_id == _a.run_id)
        .outerjoin(tables.layers, (tables.layers.c.run_id == _a.run_id) & (tables.layers.c.layer_id == _a.layer_id))
        .where(tables.alert_is_open)
    )  # fmt: skip
    if not active_silences:
        query = query.where(_a.silenced_by.is_not(None))
    changed = []
    for row in connection.execute(query):
        labels = matchable_labels(
            row, row.incident_id, row.layer, kind=row.kind, severity=row.severity, cause=row.cause
        )
        if silenced_by(active_silences, labels, now) != row.silenced_by:
            changed.append(row.run_id)
    return list(dict.fromkeys(changed))
