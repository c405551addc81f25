"""Why: the trigger is named where it shows, and nothing is named where it does not."""

from __future__ import annotations

import json

import pytest

from relumine_server.detection.remedies import remedies
from relumine_server.detection.replay import replay

KEYS = {
    "units", "units_silent", "baseline_fraction", "n", "n_unit", "p_bound", "learning_rate", "bias", "shift",
    "update_to_weight", "kill_ratio", "risk", "headroom", "upstream", "loss_effect", "input", "weights",
}  # fmt: skip


EVIDENCE = {
    "learning_rate": {"now": 0.2, "before": None}, "upstream": [], "kill_ratio": None, "weights": {"change": None},
}  # fmt: skip


def first(training, policy):
    _readings, findings = replay(training.layers, training.records, policy)
    return findings[0]


def killed(training, records=4, every=1):
    training.rates[1][:50] = 0
    return training.go(records, every)


def drifting(training):
    for start in range(0, 64, 4):
        training.rates[1][start : start + 4] = 0
        training.go(4)
    return training


def test_a_rate_that_jumped_is_the_cause_and_the_remedy_is_the_rate_before(train, policy):
    training = train({1: 0.3}).go(30)
    training.learning_rate, training.columns = 0.3, {"shift_weight": -2.0, "shift_input": -0.2, "shift_bias": -0.1}
    found = first(killed(training), policy)
    assert (found.cause, found.severity) == ("high_learning_rate", "critical")
    assert found.confidence >= 0.8
    rate = found.evidence["learning_rate"]
    assert (rate["now"], rate["before"], rate["changed_at_step"]) == (0.3, 0.05, 301)
    assert found.evidence["shift"]["weight"] > 0.8
    remedy = found.remedies[0]
    assert (remedy.action, remedy.parameter, remedy.value) == ("lower_learning_rate", "lr", 0.05)


def test_slow_bias_drift_is_told_from_the_exact_split(train, policy):
    training = train({1: 0.3}, columns={"bias": -1.5, "mean": -2.0}).go(30)
    training.columns |= {"shift_weight": -0.001, "shift_input": 0.001, "shift_bias": -0.02}
    found = first(drifting(training), policy)
    assert found.cause == "negative_bias"
    assert found.evidence["bias"]["share"] > 0.9
    assert [(one.action, one.value) for one in found.remedies[:3]] == [
        ("check_loss", None),  # what pushes them down would do so again after any other
        ("lower_learning_rate", pytest.approx(0.005)),
        ("reset_bias", pytest.approx(0.5)),
    ]


@pytest.mark.parametrize(
    ("change", "first"), [(-0.4, "lower_weight_decay"), (-0.1, "check_loss"), (None, "check_loss")]
)
def test_weights_that_shrank_have_their_decay_taken_off(change, first):
    evidence = EVIDENCE | {"weights": {"change": change}}
    assert remedies("dying", "negative_bias", evidence, {}, None)[0].action == first


def test_a_decay_of_weights_alone_is_seen_and_taken_off(train, policy):
    training = train({1: 0.3}, columns={"bias": -1.5, "mean": -2.0}).go(30)
    training.weight_norm *= 0.4
    found = first(drifting(training), policy)
    assert (found.cause, found.remedies[0].action) == ("negative_bias", "lower_weight_decay")
    assert -0.6 <= found.evidence["weights"]["change"] < -0.25


@pytest.mark.parametrize("split", ["batchnorm", "residual", "none"])
def test_shares_are_never_read_where_the_split_is_not_exact(train, policy, split):
    training = train({1: 0.3}, info={"split": split}).go(30)
    training.columns = {"shift_weight": -0.001, "shift_input": 0.001, "shift_bias": -0.02}
    found = first(drifting(training), policy)
    assert found.cause == "unknown"
    assert found.evidence["shift"] == {"weight": None, "input": None, "bias": None}
    assert found.evidence["bias"]["share"] is None


def test_an_input_that_changed_first_is_the_cause(train, policy):
    training = train({1: 0.3}).go(30)
    training.run = {"input_mean": -4.0}
    training.go(1)
    training.learning_rate = 0.5
    found = first(killed(training), policy)
    assert (found.cause, found.remedies[0].action) == ("input_shift", "normalize_input")
    assert found.evidence["input"] == {"changed_at_step": 310}


def test_a_layer_behind_one_that_was_lost_before_is_its_victim(train, policy):
    training = train({1: 0.3, 2: 0.3}).go(30)
    training.rates[1][:] = 0
    training.go(10)
    training.rates[2][:] = 0
    _readings, findings = replay(training.layers, training.go(10).records, policy)
    victim = next(f for f in findings if f.layer_id == 2)
    assert (victim.cause, victim.evidence["upstream"]) == ("upstream_collapse", [1])
    assert (victim.remedies[0].action, victim.remedies[0].value) == ("treat_upstream", 1)


def test_without_any_sign_the_cause_is_unknown(train, policy):
    found = first(killed(train({1: 0.3}).go(30)), policy)
    assert found.cause == "unknown"
    assert found.confidence < 0.5
    assert found.remedies[0].action == "replace_relu"


def test_large_steps_without_a_rate_event_are_suspected_but_never_sure(train, policy):
    found = first(killed(train({1: 0.3}, columns={"update_shift": -0.2}).go(30)), policy)
    assert found.cause == "high_learning_rate"
    assert found.confidence < 0.7
    assert found.remedies[0].value == pytest.approx(0.01)


@pytest.mark.parametrize(("taken", "part"), [(2.0, 0.1), (1.2, 1 / 6), (200.0, 0.01), (0.01, 0.2)])
def test_the_rate_that_is_proposed_leaves_the_weakest_units_most_of_what_they_have(train, policy, taken, part):
    evidence = EVIDENCE | {"kill_ratio": taken / 2}
    first, second, third = remedies("dying", "high_learning_rate", evidence, {}, None)
    assert first.value == pytest.approx(0.2 * part)
    assert (second.action, third.action) == ("reinitialize", "replace_relu")  # for those whom no rate brings back


def test_a_bias_far_below_its_layer_explains_a_born_dead_one(train, policy):
    found = first(train({1: 0.0}, columns={"bias": -8.0, "mean": -8.1}).go(10), policy)
    assert (found.kind, found.cause) == ("born_dead", "negative_bias")


def test_a_warmup_ramp_is_no_rate_event(train, policy):
    training = train({1: 0.3}, learning_rate=0.001)
    for _ in range(40):
        training.learning_rate *= 1.15
        training.go(1)
    found = first(killed(training), policy)
    assert found.evidence["learning_rate"]["changed_at_step"] is None
    assert found.evidence["learning_rate"]["slope"] > 0


def test_every_finding_holds_every_key_of_the_evidence_as_finite_json(train, policy):
    training = train({1: 0.3, 2: 0.0}, run={"loss": 0.5}).go(30)
    training.learning_rate, training.run = 0.5, {"loss": 2.3, "output_spread": 0.0}
    killed(training, records=30)
    training.rates[1][:] = 0.3
    training.go(5)
    training.nonfinite = 1
    _readings, findings = replay(training.layers, training.go(3).records, policy)
    assert {f.kind for f in findings} == {"dying", "dead", "born_dead", "constant_output", "diverged"}
    for found in findings:
        assert set(found.evidence) == KEYS
        json.dumps(found.as_dict(), allow_nan=False)
    assert {f.transition for f in findings} == {"raised", "resolved"}


def test_the_loss_says_whether_it_harms(train, policy):
    training = train({1: 0.3}, run={"loss": 0.5}).go(30)
    training.learning_rate, training.run = 0.5, {"loss": 2.0}
    _readings, findings = replay(training.layers, killed(training, records=30).records, policy)
    dead = next(f for f in findings if f.kind == "dead")
    assert dead.evidence["loss_effect"] == pytest.approx(3.0)
