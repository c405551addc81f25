"""The states as a table, and that no sequence of events leaves it, loses a resolve, or tells what nobody may hear."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relumine.views import SEVERITIES, AlertEvent, AlertState
from relumine_server.life.machine import FIRING, TABLE, Life, Occurrence, event_of, move
from relumine_server.life.telling import is_due_again, speak

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATES = (None, *get_args(AlertState))
EVENTS = get_args(AlertEvent)

# What is not here does not happen. Capitals: receivers hear of it.
MOVES = {
    None: "raised→FIRING suspected→pending escalated→FIRING changed→FIRING",
    "pending": "raised→FIRING suspected→pending escalated→FIRING changed→pending ripened→FIRING returned→REGRESSED "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED closed→RESOLVED ended→RESOLVED",
    "firing": "raised→firing suspected→firing escalated→FIRING changed→firing "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED closed→RESOLVED ended→RESOLVED",
    "regressed": "raised→regressed suspected→regressed escalated→REGRESSED changed→regressed "
    "acknowledged→ACKNOWLEDGED cleared→RESOLVED closed→RESOLVED ended→RESOLVED",
    "acknowledged": "raised→acknowledged suspected→acknowledged escalated→FIRING changed→acknowledged "
    "cleared→RESOLVED closed→RESOLVED ended→RESOLVED",
    "resolved": "raised→REGRESSED suspected→pending escalated→REGRESSED resumed→REGRESSED",
}


def life(state="firing", severity="warning", **more):
    return Life(state, severity, 100, NOW, NOW, **more)


@pytest.mark.parametrize(("state", "event"), list(product(STATES, EVENTS)))
def test_every_state_and_event_do_what_the_table_says(state, event):
    told = dict(one.split("→") for one in MOVES[state].split())
    before = None if state is None else life(state)
    severity = "critical" if event == "escalated" else "warning"
    happened = Occurrence(event, NOW + timedelta(seconds=1), 200, severity, "Ada")
    moved = move(before, happened)
    if event not in told:
        assert moved is None
        return
    to = told[event].lower()
    assert (moved.life.state, moved.tells is not None) == (to, told[event].isupper())
    assert moved.tells in (None, "firing" if to == "regressed" else to)
    is_news = to != state or event == "escalated"
    assert (moved.entry is not None) == is_news
    if is_news:
        assert moved.entry[:7] == (moved.life.moves, happened.at, 200, event, state, to, moved.life.severity)
        assert moved.life.since_at == (happened.at if to != state else NOW)
    end = (happened.at, 200) if to == "resolved" else (None, None)
    assert (moved.life.resolved_at, moved.life.resolved_step) == end
    assert (moved.life.acknowledged_by is not None) == (event == "acknowledged")


def test_the_table_names_every_state_and_every_event():
    assert set(TABLE) == set(STATES)
    assert {event for row in TABLE.values() for event in row} == set(EVENTS)


@pytest.mark.parametrize(
    ("kind", "transition", "severity", "before", "means"),
    [
        ("dying", "raised", "warning", None, "raised"),
        ("no_data", "raised", "warning", None, "suspected"),
        ("dying", "changed", "warning", None, "changed"),
        ("dying", "resolved", "warning", life(), "cleared"),
        ("dying", "raised", "warning", life(), "raised"),
        ("dying", "changed", "critical", life(), "escalated"),
        ("dying", "raised", "critical", life(), "escalated"),
        ("dying", "changed", "info", life(), "changed"),
        ("dying", "changed", "warning", life("resolved"), "changed"),
        ("dying", "changed", "critical", life("resolved"), "escalated"),
        ("dying", "raised", "critical", life("resolved"), "raised"),
        ("no_data", "raised", "warning", life("resolved"), "suspected"),
    ],
)
def test_what_a_finding_means_depends_on_the_life_so_far(kind, transition, severity, before, means):
    assert event_of(kind, transition, severity, before) == means


@pytest.mark.parametrize("state", ["firing", "acknowledged", "resolved"])
def test_an_info_that_becomes_an_alarm_is_as_old_as_the_alarm(state):
    later = NOW + timedelta(hours=1)
    event = "raised" if state == "resolved" else "escalated"
    moved = move(life(state, "info"), Occurrence(event, later, 900, "warning"))
    assert (moved.life.opened_step, moved.life.opened_at) == (900, later)
    assert moved.life.state in FIRING


@pytest.mark.parametrize(
    ("before", "tells", "told_at"),
    [
        (life(owed=True), ("firing",), NOW),
        (life(owed=True, muted_by="a"), (), None),
        (life(owed=True, silenced_by="s"), (), None),
        (life(told_at=NOW), (), NOW),
        (life("pending"), (), None),
        (life("pending", told_at=NOW), ("resolved",), None),
        (life("resolved"), (), None),
        (life("resolved", owed=True), (), None),
        (life("resolved", told_at=NOW), ("resolved",), None),
        (life("resolved", told_at=NOW, owed=True, silenced_by="s"), ("resolved",), None),
        (life("acknowledged", owed=True), (), None),
    ],
)
def test_receivers_hear_what_is_owed_and_not_quiet(before, tells, told_at):
    said = speak(before, NOW)
    assert (said.tells, said.life.told_at) == (tells, told_at)
    assert not said.life.owed or before.is_quiet
    assert speak(said.life, NOW).tells == ()


def test_an_acknowledgement_is_told_to_those_who_heard_of_the_alert():
    assert speak(life("acknowledged", told_at=NOW), NOW, taken_now=True).tells == ("acknowledged",)
    assert speak(life("acknowledged"), NOW, taken_now=True).tells == ()


@pytest.mark.parametrize(
    ("one", "due"),
    [
        (life(told_at=NOW), True),
        (life("regressed", told_at=NOW), True),
        (life(told_at=NOW + timedelta(seconds=1)), False),
        (life("acknowledged", told_at=NOW), False),
        (life(told_at=NOW, muted_by="a"), False),
        (life(told_at=NOW, silenced_by="s"), False),
        (life(severity="info", told_at=NOW), False),
        (life(), False),
    ],
)
def test_only_what_fires_and_nobody_answers_is_told_again(one, due):
    assert is_due_again(one, NOW + timedelta(hours=4), timedelta(hours=4)) is due


HAPPENINGS = st.tuples(
    st.sampled_from(EVENTS), st.sampled_from(SEVERITIES), st.sampled_from([None, None, "a"]), st.booleans()
)


@given(st.lists(HAPPENINGS, max_size=40))
def test_no_sequence_of_events_leaves_the_table_or_loses_a_resolve(happenings):
    """``heard`` is what a receiver takes the alert for: it must never be left with one that is over."""
    alert, heard, entries, fired, taken = None, False, [], False, False
    for number, (event, severity, muter, telling) in enumerate(happenings):
        at = NOW + timedelta(seconds=number)
        moved = move(alert, Occurrence(event, at, number, severity, "Ada"))
        if moved is not None:
            alert = moved.life
            entries += [moved.entry] if moved.entry else []
            fired, taken = fired or moved.tells == "firing", taken or moved.tells == "acknowledged"
        if alert is None or not telling:
            continue
        alert = replace(alert, muted_by=muter if alert.is_open else None)
        said = speak(alert, at, fired_now=fired, taken_now=taken)
        for tells in said.tells:
            assert tells == "firing" or heard
            assert tells != "firing" or not alert.is_quiet
            heard = tells != "resolved"
        alert, fired, taken = said.life, False, False
        assert heard == (alert.told_at is not None)
        assert not heard or alert.state not in {"resolved", "pending"}
        assert heard or alert.is_quiet or alert.state not in FIRING
    for before, after in zip([None, *entries], entries, strict=False):
        assert after.from_state == (None if before is None else before.to_state)
        assert TABLE[after.from_state][after.event].to == after.to_state
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert alert is None or entries[-1].to_state == alert.state
