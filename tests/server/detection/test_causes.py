"""Causes: the trigger is named where the evidence shows it, and nothing is named where it does not."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from relumine.schemas.alert import Cause
from relumine_server.detection import messages
from relumine_server.detection.remedies import remedies
from relumine_server.detection.replay import replay
from tests.server.detection import conftest

EVIDENCE_KEYS = {
    "units", "units_silent", "baseline_fraction", "n", "n_unit", "p_bound", "learning_rate", "bias", "shift",
    "update_to_weight", "kill_ratio", "displacement", "risk", "headroom", "upstream", "loss_effect", "input", "weights",
    "upstream_names", "onset_step",
}  # fmt: skip
EVIDENCE = {
    "learning_rate": {"now": 0.2, "before": None}, "upstream": [], "kill_ratio": None, "weights": {"change": None},
}  # fmt: skip


def first_finding(training, policy):
    _readings, findings = replay(training.layers, training.records, policy)
    return findings[0]


def kill_at_once(training, steps=4, every=1):
    training.rates[1][:50] = 0
    return training.sample(steps, every)


def kill_slowly(training):
    for first in range(0, 64, 4):
        training.rates[1][first : first + 4] = 0
        training.sample(4)
    return training


def test_a_learning_rate_that_jumped_is_the_cause_and_the_remedy_is_the_rate_before_it(train, policy):
    training = train({1: 0.3}).sample(30)
    training.learning_rate = 0.3
    training.columns = {"shift_weight": -2.0, "shift_input": -0.2, "shift_bias": -0.1}
    finding = first_finding(kill_at_once(training), policy)
    assert (finding.cause, finding.severity) == ("high_learning_rate", "critical")
    assert finding.confidence >= 0.8
    rate = finding.evidence["learning_rate"]
    assert (rate["now"], rate["before"], rate["changed_at_step"]) == (0.3, 0.05, 301)
    assert finding.evidence["shift"]["weight"] > 0.8
    remedy = finding.remedies[0]
    assert (remedy.action, remedy.parameter, remedy.value) == ("lower_learning_rate", "lr", 0.05)


def test_a_slow_drift_of_the_biases_is_recognized_from_the_exact_split(train, policy):
    training = train({1: 0.3}, columns={"bias": -1.5, "mean": -2.0}).sample(30)
    training.columns |= {"shift_weight": -0.001, "shift_input": 0.001, "shift_bias": -0.02}
    finding = first_finding(kill_slowly(training), policy)
    assert finding.cause == "negative_bias"
    assert finding.evidence["bias"]["share"] > 0.9
    assert [(remedy.action, remedy.value) for remedy in finding.remedies[:3]] == [
        ("check_loss", None),  # what pushes the biases down would do so again after any other remedy
        ("lower_learning_rate", pytest.approx(0.005)),
        ("reset_bias_", pytest.approx(0.5)),
    ]


@pytest.mark.parametrize(
    ("change", "action"), [(-0.4, "lower_weight_decay"), (-0.1, "check_loss"), (None, "check_loss")]
)
def test_weight_decay_is_removed_where_the_weights_shrank(change, action):
    evidence = EVIDENCE | {"weights": {"change": change}}
    assert remedies("dying", "negative_bias", evidence, {}, None)[0].action == action


def test_a_decay_of_the_weights_alone_is_recognized_and_its_remedy_is_no_decay(train, policy):
    training = train({1: 0.3}, columns={"bias": -1.5, "mean": -2.0}).sample(30)
    training.weight_norm *= 0.4
    finding = first_finding(kill_slowly(training), policy)
    assert (finding.cause, finding.remedies[0].action) == ("negative_bias", "lower_weight_decay")
    assert -0.6 <= finding.evidence["weights"]["change"] < -0.25


@pytest.mark.parametrize("split", ["batchnorm", "residual", "none"])
def test_shares_are_not_used_where_the_split_is_not_exact(train, policy, split):
    training = train({1: 0.3}, info={"split": split}).sample(30)
    training.columns = {"shift_weight": -0.001, "shift_input": 0.001, "shift_bias": -0.02}
    finding = first_finding(kill_slowly(training), policy)
    assert finding.cause == "unknown"
    assert finding.evidence["shift"] == {"weight": None, "input": None, "bias": None}
    assert finding.evidence["bias"]["share"] is None


def test_an_input_that_changed_before_the_learning_rate_is_the_cause(train, policy):
    training = train({1: 0.3}).sample(30)
    training.run_signals = {"input_mean": -4.0}
    training.sample(1)
    training.learning_rate = 0.5
    finding = first_finding(kill_at_once(training), policy)
    assert (finding.cause, finding.remedies[0].action) == ("input_shift", "normalize_input")
    assert finding.evidence["input"] == {"changed_at_step": 310, "mean": 0.0, "std": 1.0}


def test_a_layer_behind_one_that_was_lost_earlier_is_lost_to_upstream_collapse(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(30)
    training.rates[1][:] = 0
    training.sample(10)
    training.rates[2][:] = 0
    _readings, findings = replay(training.layers, training.sample(10).records, policy)
    second = next(f for f in findings if f.layer_id == 2)
    assert (second.cause, second.evidence["upstream"]) == ("upstream_collapse", [1])
    assert second.evidence["upstream_names"] == ["fc1"]
    treat = second.remedies[0]
    assert (treat.action, treat.function, treat.parameter, treat.value) == ("treat_upstream", None, None, None)
    assert 'revive_(model, inputs, optimizer, layers="fc1"' in treat.code


def test_without_any_sign_the_cause_is_unknown(train, policy):
    finding = first_finding(kill_at_once(train({1: 0.3}).sample(30)), policy)
    assert finding.cause == "unknown"
    assert finding.confidence < 0.5
    assert finding.remedies[0].action == "replace_relu_"


def test_large_updates_without_a_jump_of_the_rate_are_only_a_possible_cause(train, policy):
    finding = first_finding(kill_at_once(train({1: 0.3}, columns={"update_shift": -0.2}).sample(30)), policy)
    assert finding.cause == "high_learning_rate"
    assert finding.confidence < 0.7
    assert finding.remedies[0].value == pytest.approx(0.01)


@pytest.mark.parametrize(("kill_ratio", "factor"), [(1.0, 0.1), (0.6, 1 / 6), (100.0, 0.001), (0.005, 0.2)])
def test_the_proposed_rate_leaves_the_weakest_units_most_of_their_headroom(kill_ratio, factor):
    evidence = EVIDENCE | {"kill_ratio": kill_ratio}
    first, second, third = remedies("dying", "high_learning_rate", evidence, {}, None)
    assert first.value == pytest.approx(0.2 * factor)
    # For the units that no learning rate brings back.
    assert (second.action, third.action) == ("revive_", "replace_relu_")


@pytest.mark.parametrize(("displacement", "factor"), [(5.0, 0.01), (0.5, 0.1), (0.01, 0.2), (1e6, 0.001)])
def test_the_proposed_rate_moves_units_as_little_as_a_usual_one_where_nothing_is_left_to_kill(displacement, factor):
    evidence = EVIDENCE | {"kill_ratio": 0.0, "displacement": displacement}
    assert remedies("dying", "high_learning_rate", evidence, {}, None)[0].value == pytest.approx(0.2 * factor)


@pytest.mark.parametrize("cause", get_args(Cause))
def test_a_born_dead_layer_is_never_treated_with_a_learning_rate(cause):
    actions = [remedy.action for remedy in remedies("born_dead", cause, EVIDENCE | {"units": 8}, {}, None)]
    assert "lower_learning_rate" not in actions
    assert actions


def test_no_cause_is_named_for_a_born_dead_layer_whose_weights_and_bias_are_not_known(train, policy, monkeypatch):
    monkeypatch.delitem(conftest.UNIT_COLUMNS, "bias")
    training = train({1: 0.0}, info={"split": "none"}, weight_norm=None)
    finding = first_finding(training.sample(10), policy)
    assert (finding.kind, finding.cause) == ("born_dead", "unknown")


def test_a_bias_far_below_zero_explains_a_born_dead_layer(train, policy):
    finding = first_finding(train({1: 0.0}, columns={"bias": -8.0, "mean": -8.1}).sample(10), policy)
    assert (finding.kind, finding.cause) == ("born_dead", "negative_bias")


def test_a_warmup_of_the_learning_rate_is_no_jump(train, policy):
    training = train({1: 0.3}, learning_rate=0.001)
    for _ in range(40):
        training.learning_rate *= 1.15
        training.sample(1)
    finding = first_finding(kill_at_once(training), policy)
    assert finding.evidence["learning_rate"]["changed_at_step"] is None
    assert finding.evidence["learning_rate"]["slope"] > 0


def test_every_finding_has_every_key_of_the_evidence_as_finite_json(train, policy):
    training = train({1: 0.3, 2: 0.0}, run_signals={"loss": 0.5}).sample(30)
    training.learning_rate = 0.5
    training.run_signals = {"loss": 2.3, "output_spread": 0.0}
    kill_at_once(training, steps=30)
    training.rates[1][:] = 0.3
    training.sample(5)
    training.nonfinite = 1
    _readings, findings = replay(training.layers, training.sample(3).records, policy)
    assert {f.kind for f in findings} == {"dying", "dead", "born_dead", "constant_output", "diverged"}
    for finding in findings:
        assert set(finding.evidence) == EVIDENCE_KEYS
        json.dumps(finding.as_dict(), allow_nan=False)
    assert {f.transition for f in findings} == {"raised", "resolved"}


@pytest.mark.parametrize(("run_signals", "effect"), [({"loss": 0.5}, 0.0), ({}, None)])
def test_nothing_is_known_of_a_loss_that_no_longer_comes(train, policy, run_signals, effect):
    """A loss that is not finite is not recorded: the last ones before it say nothing about it."""
    training = train({1: 0.3}, run_signals={"loss": 0.5}).sample(30)
    training.learning_rate = 0.5
    kill_at_once(training, steps=5)
    training.run_signals = run_signals
    _readings, findings = replay(training.layers, training.sample(40).records, policy)
    dead = next(finding for finding in findings if finding.kind == "dead")
    assert dead.evidence["loss_effect"] == effect
    assert ("Loss is unaffected" in messages.message(dead, "a/b")) == (effect is not None)


def test_the_effect_on_the_loss_is_part_of_the_evidence(train, policy):
    training = train({1: 0.3}, run_signals={"loss": 0.5}).sample(30)
    training.learning_rate = 0.5
    training.run_signals = {"loss": 2.0}
    _readings, findings = replay(training.layers, kill_at_once(training, steps=30).records, policy)
    dead = next(f for f in findings if f.kind == "dead")
    assert dead.evidence["loss_effect"] == pytest.approx(3.0)
