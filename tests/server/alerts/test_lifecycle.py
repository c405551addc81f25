"""The table of states, the rules of notifications, and that no sequence of events breaks either."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relumine.schemas.alert import SEVERITIES, AlertEventName, AlertState
from relumine_server.alerts.lifecycle import FIRING_STATES, TRANSITIONS, event_for_finding, transition
from relumine_server.alerts.notifications import decide_notifications, is_repeat_due
from relumine_server.alerts.status import AlertEvent, AlertStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATES = (None, *get_args(AlertState))
EVENTS = get_args(AlertEventName)

# Every other event changes nothing. Capitals: the transition calls for a notification.
EXPECTED = {
    None: "raised→FIRING pending→pending escalated→FIRING updated→FIRING",
    "pending": "raised→FIRING pending→pending escalated→FIRING updated→pending confirmed→FIRING regressed→REGRESSED "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED resolved_by_user→RESOLVED run_ended→ended",
    "firing": "raised→firing pending→firing escalated→FIRING updated→firing "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED resolved_by_user→RESOLVED run_ended→ended",
    "regressed": "raised→regressed pending→regressed escalated→REGRESSED updated→regressed "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED resolved_by_user→RESOLVED run_ended→ended",
    "acknowledged": "raised→acknowledged pending→acknowledged escalated→FIRING updated→acknowledged "
    "cleared→RESOLVED resolved_by_user→RESOLVED run_ended→ended",
    "resolved": "raised→REGRESSED pending→pending escalated→REGRESSED cleared→resolved",
    "ended": "raised→FIRING pending→pending escalated→FIRING run_resumed→FIRING resumed_acknowledged→acknowledged "
    "cleared→RESOLVED resolved_by_user→RESOLVED",
}


def status(state="firing", severity="warning", **changes):
    return AlertStatus(state, severity, 100, NOW, NOW, **changes)


@pytest.mark.parametrize(("state", "name"), list(product(STATES, EVENTS)))
def test_every_event_in_every_state_does_what_the_table_says(state, name):
    expected = dict(rule.split("→") for rule in EXPECTED[state].split())
    previous = None if state is None else status(state)
    severity = "critical" if name == "escalated" else "warning"
    event = AlertEvent(name, NOW + timedelta(seconds=1), 200, severity, "Ada")
    result = transition(previous, event)
    if name not in expected:
        assert result is None
        return
    to_state = expected[name].lower()
    assert (result.status.state, result.notification is not None) == (to_state, expected[name].isupper())
    assert result.notification in (None, "firing" if to_state == "regressed" else to_state)
    is_logged = to_state != state or name == "escalated"
    assert (result.log_entry is not None) == is_logged
    if is_logged:
        logged = (result.status.event_count, event.occurred_at, 200, name, state, to_state, result.status.severity)
        assert result.log_entry[:7] == logged
        assert result.status.state_changed_at == (event.occurred_at if to_state != state else NOW)
    resolved = (event.occurred_at, 200) if to_state == "resolved" else (None, None)
    assert (result.status.resolved_at, result.status.resolved_step) == resolved
    ended = (event.occurred_at, 200) if to_state == "ended" else (None, None)
    assert (result.status.ended_at, result.status.ended_step) == ended
    assert (result.status.acknowledged_by is not None) == (name == "acknowledged")


def test_the_table_contains_every_state_and_every_event():
    assert set(TRANSITIONS) == set(STATES)
    assert {event for rules in TRANSITIONS.values() for event in rules} == set(EVENTS)


@pytest.mark.parametrize(
    ("kind", "transition", "severity", "previous", "name"),
    [
        ("dying", "raised", "warning", None, "raised"),
        ("no_data", "raised", "warning", None, "pending"),
        ("dying", "changed", "warning", None, "updated"),
        ("dying", "resolved", "warning", status(), "cleared"),
        ("dying", "raised", "warning", status(), "raised"),
        ("dying", "changed", "critical", status(), "escalated"),
        ("dying", "raised", "critical", status(), "escalated"),
        ("dying", "changed", "info", status(), "updated"),
        ("dying", "changed", "warning", status("resolved"), "updated"),
        ("dying", "changed", "critical", status("resolved"), "escalated"),
        ("dying", "raised", "critical", status("resolved"), "raised"),
        ("no_data", "raised", "warning", status("resolved"), "pending"),
    ],
)
def test_the_event_for_a_finding_depends_on_the_status_of_the_alert(kind, transition, severity, previous, name):
    assert event_for_finding(kind, transition, severity, previous) == name


@pytest.mark.parametrize("state", ["firing", "acknowledged", "resolved"])
def test_an_info_that_becomes_an_alarm_is_as_old_as_the_alarm(state):
    later = NOW + timedelta(hours=1)
    name = "raised" if state == "resolved" else "escalated"
    result = transition(status(state, "info"), AlertEvent(name, later, 900, "warning"))
    assert (result.status.opened_step, result.status.opened_at) == (900, later)
    assert result.status.state in FIRING_STATES


@pytest.mark.parametrize(
    ("previous", "notifications", "firing_notified_at"),
    [
        (status(notification_due=True), ("firing",), NOW),
        (status(notification_due=True, inhibited_by="a"), (), None),
        (status(notification_due=True, silenced_by="s"), (), None),
        (status(firing_notified_at=NOW), (), NOW),
        (status("pending"), (), None),
        (status("pending", firing_notified_at=NOW), ("resolved",), None),
        (status("resolved"), (), None),
        (status("resolved", notification_due=True), (), None),
        (status("resolved", firing_notified_at=NOW), ("resolved",), None),
        (status("resolved", firing_notified_at=NOW, notification_due=True, silenced_by="s"), ("resolved",), None),
        (status("acknowledged", notification_due=True), (), None),
    ],
)
def test_due_notifications_are_sent_once_unless_suppressed(previous, notifications, firing_notified_at):
    decision = decide_notifications(previous, NOW)
    assert (decision.notifications, decision.status.firing_notified_at) == (notifications, firing_notified_at)
    assert not decision.status.notification_due or previous.is_suppressed
    assert decide_notifications(decision.status, NOW).notifications == ()


@pytest.mark.parametrize(("firing_notified_at", "notifications"), [(NOW, ("acknowledged",)), (None, ())])
def test_an_acknowledgement_is_notified_where_the_alert_was(firing_notified_at, notifications):
    acknowledged = status("acknowledged", firing_notified_at=firing_notified_at)
    assert decide_notifications(acknowledged, NOW, acknowledged_now=True).notifications == notifications


@pytest.mark.parametrize(
    ("previous", "is_due"),
    [
        (status(firing_notified_at=NOW), True),
        (status("regressed", firing_notified_at=NOW), True),
        (status(firing_notified_at=NOW + timedelta(seconds=1)), False),
        (status("acknowledged", firing_notified_at=NOW), False),
        (status(firing_notified_at=NOW, inhibited_by="a"), False),
        (status(firing_notified_at=NOW, silenced_by="s"), False),
        (status(severity="info", firing_notified_at=NOW), False),
        (status(), False),
    ],
)
def test_only_an_unacknowledged_firing_alert_is_notified_again(previous, is_due):
    assert is_repeat_due(previous, NOW + timedelta(hours=4), timedelta(hours=4)) is is_due


STEPS = st.tuples(
    st.sampled_from(EVENTS), st.sampled_from(SEVERITIES), st.sampled_from([None, None, "a"]), st.booleans()
)


@given(st.lists(STEPS, max_size=40))
def test_no_sequence_of_events_leaves_the_table_or_loses_a_resolve(steps):
    """``is_firing`` is what a receiver believes: no alert may end without the receiver being notified."""
    alert, is_firing, entries, fired, acknowledged = None, False, [], False, False
    for number, (name, severity, inhibited_by, flushes) in enumerate(steps):
        now = NOW + timedelta(seconds=number)
        result = transition(alert, AlertEvent(name, now, number, severity, "Ada"))
        if result is not None:
            alert = result.status
            entries += [result.log_entry] if result.log_entry else []
            fired |= result.notification == "firing"
            acknowledged |= result.notification == "acknowledged"
        if alert is None or not flushes:
            continue
        alert = replace(alert, inhibited_by=inhibited_by if alert.is_open else None)
        decision = decide_notifications(alert, now, fired_now=fired, acknowledged_now=acknowledged)
        for notification in decision.notifications:
            assert notification == "firing" or is_firing
            assert notification != "firing" or not alert.is_suppressed
            is_firing = notification != "resolved"
        alert, fired, acknowledged = decision.status, False, False
        assert is_firing == (alert.firing_notified_at is not None)
        assert not is_firing or alert.state not in {"resolved", "pending"}
        assert is_firing or alert.is_suppressed or alert.state not in FIRING_STATES
    for previous, entry in zip([None, *entries], entries, strict=False):
        assert entry.from_state == (None if previous is None else previous.to_state)
        assert TRANSITIONS[entry.from_state][entry.event].to_state == entry.to_state
    assert [entry.event_number for entry in entries] == list(range(1, len(entries) + 1))
    assert alert is None or entries[-1].to_state == alert.state
