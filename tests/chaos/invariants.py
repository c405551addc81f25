"""The promises about a database and a receiver after trainings died on servers that were killed meanwhile.

- Uploads: each acknowledged one is stored once, with every record and every row of unit statistics.
- Alerts: their events are those that one undisturbed process would have stored, and each is a transition of the table.
- Notifications: each webhook was notified of each incident of an alert that fires, of the resolution of each alert that
  it was notified of, and of the end of each run once; never under more delivery ids than there were notifications.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from relumine.schemas.alert import Kind
from relumine.schemas.upload import Upload
from relumine_server.alerts.lifecycle import TRANSITIONS, event_for_finding, transition
from relumine_server.alerts.status import AlertEvent, AlertStatus
from relumine_server.db import tables
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import DEFAULT
from relumine_server.outbox import alert_refs
from tests.chaos.notification_receiver import EventReceiver
from tests.chaos.run_fixtures import RECORDS_PER_STEP, STEPS_PER_UPLOAD, Outcome, seq_of, uploads
from tests.chaos.server import Key
from tests.chaos.server_kills import count_rows, stored_records

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DETECTOR_EVENTS = frozenset({"raised", "pending", "escalated", "updated", "cleared"})

AlertKey: TypeAlias = tuple[str, str]
"""Run and alert."""


@dataclass(frozen=True)
class StoredAlerts:
    """The alerts of all runs and the events of each, in order."""

    rows: Mapping[AlertKey, Any]
    events: Mapping[AlertKey, Sequence[Any]]


@contextmanager
def connected(database_url: str) -> Iterator[sa.Connection]:
    """Open a connection of its own."""
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def describe_pending(database_url: str, runs: Mapping[str, Outcome]) -> str:
    """Describe what the servers still have to do; empty if there is nothing."""
    silent = {run for run, end in runs.items() if end is None}
    with connected(database_url) as connection:
        pending = connection.scalar(sa.select(sa.func.count()).where(tables.deliveries.c.state == "pending"))
        alert = tables.alerts.c
        stalled = sa.select(alert.run_id).where(alert.kind == "stalled", alert.state.not_in(["pending", "resolved"]))
        missed = silent - set(connection.scalars(stalled))
    return f"{pending} notifications, {len(missed)} silent runs without an alert" if pending or missed else ""


def check_invariants(
    database_url: str,
    acknowledged: Sequence[Key],
    runs: Mapping[str, Outcome],
    receiver: EventReceiver,
    webhooks: int,
) -> tuple[str, bool]:
    """Describe what is stored and received; return also whether all promises held."""
    with connected(database_url) as connection:
        violations = count_upload_errors(connection, acknowledged)
        alerts = read_alerts(connection)
        delivery = tables.deliveries.c
        rows = connection.execute(sa.select(delivery.delivery_id, delivery.state))
        states = {delivery_id: state for delivery_id, state in rows}  # noqa: C416 - rows are not pairs to mypy
    violations |= count_alert_errors(runs, alerts)
    violations |= count_notification_errors(runs, alerts, receiver, webhooks)
    accepted = receiver.accepted
    violations |= {
        "delivered and never received": sum(
            state == "delivered" and not accepted[delivery_id] for delivery_id, state in states.items()
        ),
        "received and not stored as delivered": sum(states.get(delivery_id) != "delivered" for delivery_id in accepted),
        "failed for good": sum(state == "failed" for state in states.values()),
    }
    repeated = sum(times - 1 for times in accepted.values())
    events = sum(map(len, alerts.events.values()))
    text = f"{len(acknowledged):,} uploads of {len(runs)} runs, {len(alerts.rows):,} alerts with {events:,} events, "
    text += f"{accepted.total() - repeated:,} notifications ({repeated} arrived again under the same id); "
    text += ", ".join(f"{count} {name}" for name, count in violations.items())
    return text, not any(violations.values())


def read_alerts(connection: sa.Connection) -> StoredAlerts:
    """Read all alerts with their events."""
    rows = {(row.run_id, row.alert_id): row for row in connection.execute(sa.select(tables.alerts))}
    event = tables.alert_events.c
    events: defaultdict[AlertKey, list[Any]] = defaultdict(list)
    in_order = sa.select(tables.alert_events).order_by(event.run_id, event.alert_id, event.event_number)
    for row in connection.execute(in_order):
        events[row.run_id, row.alert_id].append(row)
    return StoredAlerts(rows, events)


def count_upload_errors(connection: sa.Connection, acknowledged: Sequence[Key]) -> dict[str, int]:
    """Count uploads that are missing, stored twice or stored in part."""
    stored = count_rows(connection, tables.uploads)
    unit_rows = count_rows(connection, tables.unit_stats)
    records: defaultdict[Key, Counter[int]] = defaultdict(Counter)
    for run, step in stored_records(connection):
        records[run, seq_of(step)][step] += 1
    keys = stored.keys() | unit_rows.keys() | records.keys()
    twice = set()
    complete = set()
    for key in keys:
        most_records = max(records[key].values(), default=0)
        if stored[key] > 1 or unit_rows[key] > STEPS_PER_UPLOAD or most_records > RECORDS_PER_STEP:
            twice.add(key)
        if stored[key] and unit_rows[key] == STEPS_PER_UPLOAD and _is_complete(records[key]):
            complete.add(key)
    return {
        "missing": len(set(acknowledged) - stored.keys()),
        "stored twice": len(twice),
        "stored in part": len(keys - complete - twice),
    }


def _is_complete(records: Counter[int]) -> bool:
    """Return whether every sampled step of an upload has every record."""
    return len(records) == STEPS_PER_UPLOAD and set(records.values()) == {RECORDS_PER_STEP}


def count_alert_errors(runs: Mapping[str, Outcome], alerts: StoredAlerts) -> dict[str, int]:
    """Count alerts that differ from those of an undisturbed process, and transitions that are not in the table."""
    expected: dict[AlertKey, list[tuple[str, int]]] = {}
    for run in runs:
        for alert, events in undisturbed_events(run).items():
            expected[run, alert] = events
    stored: dict[AlertKey, list[tuple[str, int]]] = {}
    created: Counter[AlertKey] = Counter()
    for key, rows in alerts.events.items():
        created[key] = sum(row.from_state is None for row in rows)
        if alerts.rows[key].kind != "stalled":
            stored[key] = [(row.event, row.step) for row in rows if row.event in DETECTOR_EVENTS]
    stalled = {run for run, alert in alerts.rows if alerts.rows[run, alert].kind == "stalled"}
    silent = {run for run, end in runs.items() if end is None}
    common = stored.keys() & expected.keys()
    return {
        "alerts missing": len(expected.keys() - stored.keys()),
        "alerts without a cause": len(stored.keys() - expected.keys()),
        "with other events than undisturbed": sum(stored[key] != expected[key] for key in common),
        "created twice": sum(created[key] != 1 for key in alerts.rows),
        "with illegal transitions": sum(
            not is_legal(rows, alerts.rows[key].state) for key, rows in alerts.events.items()
        ),
        "silent runs without an alert": len(silent - stalled),
    }


def undisturbed_events(run: str) -> dict[str, list[tuple[str, int]]]:
    """Return event and step of each event that one undisturbed process would store, by alert."""
    state = detection_state.empty()
    statuses: dict[str, AlertStatus] = {}
    kinds: dict[str, Kind] = {}
    events: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for body in uploads(run):
        upload = Upload.model_validate_json(json.dumps(body))
        described = detection_state.describe(state, upload.layers)
        state, _readings, findings = detector.advance(described, upload.records, DEFAULT)
        for finding in findings:
            alert = alert_refs.alert_id(run, finding.layer_id, finding.kind)  # a dead layer goes on with its alert
            status = statuses.get(alert)
            event = event_for_finding(finding.kind, finding.transition, finding.severity, status, kinds.get(alert))
            result = transition(status, AlertEvent(event, NOW, finding.step, finding.severity, kind=finding.kind))
            if result is None:
                continue
            kinds[alert] = finding.kind
            statuses[alert] = result.status
            if result.log_entry is not None:
                events[alert].append((event, finding.step))
    return events


def is_legal(events: Sequence[Any], state: str) -> bool:
    """Return whether each event follows from the previous one by the table, and the last leads to the alert's state."""
    previous = None
    for number, event in enumerate(events, start=1):
        rule = TRANSITIONS[previous].get(event.event)
        if rule is None or rule.to_state != event.to_state:
            return False
        if event.event_number != number or event.from_state != previous:
            return False
        previous = event.to_state
    return previous == state


def notified_incidents(alerts: StoredAlerts, receiver: EventReceiver, path: str) -> set[str]:
    """Return the incidents that a webhook was notified of, by any of their alerts."""
    rows = alerts.rows.values()
    return {alert.incident_id for alert in rows if receiver.delivery_ids[path, "alert.firing", alert.alert_id]}


def count_notification_errors(
    runs: Mapping[str, Outcome], alerts: StoredAlerts, receiver: EventReceiver, webhooks: int
) -> dict[str, int]:
    """Count notifications that never arrived, and those under more delivery ids than notifications."""
    missing = unresolved = excess = 0
    ends_missing = ends_twice = 0
    for path in map("/{}".format, range(webhooks)):
        notified = notified_incidents(alerts, receiver, path)
        for key, alert in alerts.rows.items():
            due = Counter(
                f"alert.{TRANSITIONS[event.from_state][event.event].notification}" for event in alerts.events[key]
            )
            ids = {name: len(receiver.delivery_ids[path, name, alert.alert_id]) for name in receiver.EVENTS}
            is_muted = bool(alert.inhibited_by or alert.silenced_by)
            is_firing = alert.state in {"firing", "regressed"} and not is_muted
            missing += is_firing and alert.incident_id not in notified
            unresolved += alert.state == "resolved" and ids["alert.firing"] > 0 and not ids["alert.resolved"]
            excess += sum(ids[name] > due[name] for name in ids)
        for run, end in runs.items():
            surplus = len(receiver.delivery_ids[path, "run.finished", run]) - bool(end)
            ends_missing += surplus < 0
            ends_twice += surplus > 0
    return {
        "firing without a notification of the incident": missing,
        "resolved without a notification": unresolved,
        "under more ids than notifications": excess,
        "ends of runs without a notification": ends_missing,
        "ends notified twice": ends_twice,
    }
