"""A mark begins a new baseline; a layer whose activation is no longer recorded is reported, and is not dead."""

from __future__ import annotations

from relumine.schemas.record import Record
from relumine.schemas.record_table import RecordTable
from relumine_server.detection import detector, messages, state
from relumine_server.detection.replay import replay

MARKED = "a new baseline was marked"


def transitions(training, policy):
    _readings, findings = replay(training.layers, training.records, policy)
    return [(f.layer_id, f.kind, f.transition, f.reason) for f in findings]


def with_mark(training):
    """Sample one more step, whose record of the run carries a mark."""
    first_new = len(training.records)
    training.sample(1)
    training.records[first_new] = training.records[first_new]._replace(marks=1)
    return training


def killed_then_marked(train):
    training = train({1: 0.3, 2: 0.3}).sample(30)
    training.rates[2][:50] = 0
    training.sample(10)
    return with_mark(training)


def test_a_mark_resolves_problems_and_a_layer_that_stays_lost_is_then_born_dead(train, policy):
    assert transitions(killed_then_marked(train).sample(3), policy) == [
        (2, "dying", "raised", None),
        (2, "dying", "resolved", MARKED),
        (2, "born_dead", "raised", None),
    ]


def test_units_dead_at_a_mark_are_the_new_baseline_and_later_deaths_are_reported(train, policy):
    training = train({1: 0.3}).sample(30)
    training.rates[1][:20] = 0
    with_mark(training.sample(4)).sample(40)
    so_far = transitions(training, policy)
    mark = next(i for i, (_, _, _, reason) in enumerate(so_far) if reason == MARKED)
    assert [kind for _, kind, _, _ in so_far[mark + 1 :] if kind in ("dying", "dead")] == []
    training.rates[1][20:] = 0
    later = transitions(training.sample(20), policy)[len(so_far) :]
    assert ("dead", "raised") in {(kind, transition) for _, kind, transition, _ in later}


def test_a_mark_has_the_same_effect_between_uploads_and_within_one(train, policy):
    training = killed_then_marked(train).sample(10)
    at_once = replay(training.layers, training.records, policy)
    current = state.describe(state.empty(), training.layers)
    readings, findings = [], []
    for record in training.records:
        current, new_readings, new_findings = detector.advance(current, [record], policy)
        current = state.from_bytes(state.to_bytes(current))
        readings += new_readings
        findings += new_findings
    assert (readings, findings) == at_once


def test_an_activation_that_is_no_longer_recorded_is_reported_until_it_is_recorded_again(train, policy):
    training = train({1: 0.3}).sample(20)
    step = training.last_step + 10
    training.records.extend(RecordTable.from_records([Record(layer_id=1, first_step=step, step=step)]))
    training.last_step = step
    training.sample(5)
    readings, findings = replay(training.layers, training.records, policy)
    assert [(f.kind, f.transition, f.severity, f.cause, f.step) for f in findings] == [
        ("no_data", "raised", "warning", "unknown", step),
        ("no_data", "resolved", "warning", "unknown", step + 10),
    ]
    assert step not in {reading.step for reading in readings}
    text = messages.message(findings[0], "digits/a")
    assert "fc1 is no longer observed" in text
    assert "Cause" not in text
