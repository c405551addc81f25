"""A deliberate reset begins a new baseline; a layer that is no longer heard is told, and is not dead."""

from __future__ import annotations

from relumine.table import RecordTable
from relumine.wire import Record
from relumine_server.detection import onset, state, wording
from relumine_server.detection.replay import replay


def told(training, policy):
    _readings, findings = replay(training.layers, training.records, policy)
    return [(f.layer_id, f.kind, f.transition, f.reason) for f in findings]


def marked(training):
    """The training's next record of the run carries a mark."""
    first = len(training.records)
    training.go(1)
    training.records[first] = training.records[first]._replace(marks=1)
    return training


def killed_and_marked(train):
    training = train({1: 0.3, 2: 0.3}).go(30)
    training.rates[2][:50] = 0
    training.go(10)
    return marked(training)


def test_a_mark_ends_what_was_found_and_a_layer_that_stays_lost_is_told_as_one_that_never_worked(train, policy):
    assert told(killed_and_marked(train).go(3), policy) == [
        (2, "dying", "raised", None),
        (2, "dying", "resolved", "a new baseline was marked"),
        (2, "born_dead", "raised", None),
    ]


def test_what_is_dead_at_the_mark_is_the_new_baseline_and_what_dies_after_it_is_news(train, policy):
    training = train({1: 0.3}).go(30)
    training.rates[1][:20] = 0
    marked(training.go(4)).go(40)
    quiet = told(training, policy)
    marks = next(i for i, f in enumerate(quiet) if f[3] == "a new baseline was marked")
    assert [f for f in quiet[marks + 1 :] if f[1] in ("dying", "dead")] == []
    training.rates[1][20:] = 0
    assert ("dead", "raised") in {f[1:3] for f in told(training.go(20), policy)[len(quiet) :]}


def test_a_mark_between_uploads_or_within_one_gives_the_same(train, policy):
    training = killed_and_marked(train).go(10)
    whole = replay(training.layers, training.records, policy)
    folded = state.describe(state.empty(), training.layers)
    readings, findings = [], []
    for record in training.records:
        folded, more, found = onset.advance(folded, [record], policy)
        folded = state.from_bytes(state.to_bytes(folded))
        readings += more
        findings += found
    assert (readings, findings) == whole


def test_a_layer_that_falls_silent_to_the_hooks_is_told_and_resolved_when_heard_again(train, policy):
    training = train({1: 0.3}).go(20)
    at = training.last_step + 10
    training.records += RecordTable.of([Record(layer_id=1, first_step=at, step=at)])
    training.last_step = at
    training.go(5)
    readings, findings = replay(training.layers, training.records, policy)
    assert [(f.kind, f.transition, f.severity, f.cause, f.step) for f in findings] == [
        ("no_data", "raised", "warning", "unknown", at),
        ("no_data", "resolved", "warning", "unknown", at + 10),
    ]
    assert at not in {reading.step for reading in readings}
    text = wording.message(findings[0], "digits/a")
    assert "fell silent to the hooks" in text
    assert "Cause" not in text
