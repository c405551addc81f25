"""Decisions: when a layer is reported as dying, dead or born dead, and when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from relumine_server.detection.decisions import warning_weight
from relumine_server.detection.replay import replay


def transitions(training, policy):
    _readings, findings = replay(training.layers, training.records, policy)
    return [(f.layer_id, f.kind, f.transition) for f in findings]


@pytest.mark.parametrize("seed", range(4))
def test_healthy_layers_raise_nothing(train, policy, seed):
    rates = [np.random.default_rng(5 * seed + pair).beta(1, 3, 64) for pair in range(5)]
    layers = [layer for pair in rates for layer in (pair, pair[::-1])]
    assert transitions(train(dict(enumerate(layers, start=1)), seed=seed).sample(300), policy) == []


def test_sparse_layers_of_selective_units_raise_nothing(train, policy):
    rates = {1 + seed: np.random.default_rng(seed).uniform(0.002, 0.02, 64) for seed in range(5)}
    assert transitions(train(rates).sample(400), policy) == []


def test_tiny_batches_in_which_most_units_are_silent_raise_nothing(train, policy):
    assert transitions(train(dict.fromkeys(range(1, 6), 0.1), batch=4).sample(600), policy) == []


def test_a_sudden_kill_is_critical_within_three_records(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(30)
    training.rates[2][:50] = 0
    killed_at = training.last_step
    _readings, findings = replay(training.layers, training.sample(3, every=1).records, policy)
    first = findings[0]
    assert (first.layer_id, first.kind, first.transition, first.severity) == (2, "dying", "raised", "critical")
    assert killed_at < first.step <= killed_at + 3


def test_a_layer_that_stays_silent_goes_from_dying_to_dead(train, policy):
    training = train({1: 0.3}).sample(30)
    training.rates[1][:50] = 0
    _readings, findings = replay(training.layers, training.sample(40).records, policy)
    assert [(f.kind, f.transition, f.reason) for f in findings] == [
        ("dying", "raised", None),
        ("dead", "raised", None),
    ]
    dead = findings[1]
    assert dead.evidence["units_silent"] == 50
    assert dead.evidence["n"] >= 700
    assert dead.evidence["p_bound"] == pytest.approx(3 / dead.evidence["n"])


def test_a_slow_death_raises_a_warning_before_half_of_the_layer_is_lost(train, policy):
    training = train({1: 0.3}).sample(30)
    for unit in range(64):
        training.rates[1][unit] = 0
        training.sample(3)
    _readings, findings = replay(training.layers, training.records, policy)
    first = findings[0]
    assert (first.kind, first.severity) == ("dying", "info")
    assert first.evidence["units_silent"] <= 16
    warning = next(f for f in findings if f.severity != "info")
    assert (warning.kind, warning.transition, warning.evidence["units_silent"] < 32) == ("dying", "changed", True)
    assert [(f.kind, f.transition) for f in findings if f.transition != "changed"][:2] == [
        ("dying", "raised"), ("dead", "raised"),
    ]  # fmt: skip


def test_units_that_return_resolve_the_problem_and_a_second_death_raises_it_again(train, policy):
    training = train({1: 0.3}).sample(30)
    for rate in (0.0, 0.3):
        training.rates[1][:30] = rate
        training.sample(8)
    training.rates[1][:50] = 0
    training.sample(20)
    assert transitions(training, policy)[:3] == [
        (1, "dying", "raised"), (1, "dying", "resolved"), (1, "dying", "raised"),
    ]  # fmt: skip


def test_the_end_of_a_long_death_is_noticed_as_soon_as_that_of_a_short_one(train, policy):
    ends = []
    for lasting, units in ((8, 30), (80, 50)):
        training = train({1: 0.3}).sample(30)
        training.rates[1][:units] = 0
        training.sample(lasting)
        last_step = training.records[-1].step
        training.rates[1][:units] = 0.3
        _readings, findings = replay(training.layers, training.sample(30).records, policy)
        ends.append([(f.kind, f.transition) for f in findings if f.step > last_step])
    assert ends == [[(kind, "resolved")] for kind in ("dying", "dead")]


def test_silence_that_many_units_came_back_from_is_no_alarm_when_it_comes_again(train, policy):
    training = train({1: 0.3}).sample(30)
    for silent in (slice(0, 16), slice(16, 42)):
        training.rates[1][silent] = 0
        training.sample(3)
        training.rates[1][:] = 0.3
        training.sample(20)
    _readings, findings = replay(training.layers, training.records, policy)
    assert {f.severity for f in findings} == {"info"}
    first_time = train({1: 0.3}).sample(53)
    first_time.rates[1][16:42] = 0
    _readings, findings = replay(first_time.layers, first_time.sample(3).records, policy)
    assert findings[-1].severity == "critical"


def test_risks_just_below_a_warning_add_up_to_one_and_calm_ones_take_them_back(policy):
    weights = [warning_weight(risk, policy.risk) for risk in (0.6, 0.55, 0.4, 0.05)]
    assert weights[0] == pytest.approx(1.0)
    assert 0.5 < weights[1] < 1.0
    assert abs(weights[2]) < 0.1
    assert weights[3] < -2
    assert warning_weight(1.0, policy.risk) < policy.confirm_records


def test_a_layer_at_a_threshold_does_not_flap(train, policy):
    training = train({1: 0.3}).sample(30)
    for turn in range(60):
        training.rates[1][:12] = 0.3 if turn % 2 else 0.0
        training.sample(1)
    assert len(transitions(training, policy)) <= 2


def test_a_layer_never_active_from_the_start_is_born_dead_by_the_tenth_record(train, policy):
    training = train({1: 0.3, 2: 0.0}).sample(10)
    _readings, findings = replay(training.layers, training.records, policy)
    assert [(f.layer_id, f.kind, f.severity, f.cause) for f in findings] == [
        (2, "born_dead", "critical", "bad_initialization")
    ]


@pytest.mark.parametrize(("units", "severity"), [(35, "info"), (42, "warning"), (56, "warning"), (60, "critical")])
def test_a_layer_partly_born_dead_is_reported_by_its_share_and_never_again_later(train, policy, units, severity):
    training = train({1: np.where(np.arange(64) < units, 0.0, 0.3)}).sample(200)
    _readings, findings = replay(training.layers, training.records, policy)
    assert [(f.kind, f.severity) for f in findings] == [("born_dead", severity)]


def test_born_dead_units_that_become_active_are_alive(train, policy):
    training = train({1: 0.0}).sample(10)
    training.rates[1][:] = 0.3
    readings, findings = replay(training.layers, training.sample(10).records, policy)
    assert [(f.kind, f.transition) for f in findings] == [("born_dead", "raised"), ("born_dead", "resolved")]
    assert readings[-1].state == "healthy"
    assert readings[-1].born_dead_fraction == 0


def test_a_layer_whose_units_are_active_once_in_two_thousand_examples_is_not_born_dead(train, policy):
    training = train(dict.fromkeys(range(1, 41), 0.0005)).sample(60)
    _readings, findings = replay(training.layers, training.records, policy)
    assert [f.layer_id for f in findings if f.severity != "info"] == []


def test_non_finite_values_are_divergence_and_never_death(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(30)
    training.nonfinite = 1
    readings, findings = replay(training.layers, training.sample(30).records, policy)
    assert [(f.layer_id, f.kind, f.transition) for f in findings] == [(0, "diverged", "raised")]
    assert readings[-1].state == "diverged"
    assert readings[-1].active_rate is None


def test_divergence_suppresses_other_problems_and_ends_with_finite_values(train, policy):
    training = train({1: 0.3}).sample(30)
    training.nonfinite = 1
    training.sample(2)
    training.nonfinite = 0
    training.rates[1][:] = 0
    training.sample(2)
    assert [kind for _, kind, _ in transitions(training, policy)] == ["diverged"]
    later = transitions(training.sample(6), policy)[1:3]
    assert later == [(0, "diverged", "resolved"), (1, "dying", "raised")]


def test_a_layer_that_cannot_die_is_never_judged(train, policy):
    training = train({1: 0.3}, info={"can_die": False, "activation": "leaky_relu"}).sample(30)
    training.rates[1][:] = 0
    readings, findings = replay(training.layers, training.sample(60).records, policy)
    assert findings == []
    assert {r.state for r in readings} == {"cannot_die"}
    assert readings[0].active_rate == pytest.approx(0.3, abs=0.05)


def test_positions_need_more_evidence_than_examples(train, policy):
    delays = {}
    for n_unit in ("examples", "positions"):
        training = train({1: 0.1}, info={"n_unit": n_unit}).sample(60)
        training.rates[1][:] = 0
        _readings, findings = replay(training.layers, training.sample(200).records, policy)
        delays[n_unit] = findings[0].step - 600
    assert delays["positions"] >= 5 * delays["examples"]


def test_an_output_that_no_longer_depends_on_the_input_is_reported_and_resolved(train, policy):
    training = train({1: 0.3}).sample(20)
    training.run_signals = {"output_spread": 0.001}
    training.sample(5)
    training.run_signals = {}
    assert transitions(training.sample(5), policy) == [
        (0, "constant_output", "raised"), (0, "constant_output", "resolved"),
    ]  # fmt: skip


def test_a_kill_ratio_counts_more_after_the_learning_rate_jumped(train, policy):
    steady = train({1: 0.3}).sample(30)
    steady.columns = {"update_shift": -1.0}
    assert transitions(steady.sample(10), policy) == []
    jumped = train({1: 0.3}).sample(30)
    jumped.learning_rate = 0.5
    jumped.columns = {"update_shift": -1.0}
    _readings, findings = replay(jumped.layers, jumped.sample(2, every=1).records, policy)
    assert [(f.kind, f.severity) for f in findings] == [("dying", "warning")]


def test_every_record_of_a_layer_gives_a_reading_and_its_values_are_in_range(train, policy):
    training = train({1: 0.3, 2: 0.001}).sample(30)
    training.rates[1][:40] = 0
    readings, _findings = replay(training.layers, training.sample(30).records, policy)
    assert len(readings) == 2 * 60
    for r in readings:
        for share in (r.active_rate, r.dying_fraction, r.dead_fraction, r.born_dead_fraction, r.risk):
            assert 0 <= share <= 1
    last = {r.layer_id: r for r in readings[-2:]}
    assert last[1].risk > last[2].risk
    assert last[1].dead_fraction == pytest.approx(40 / 64)


@pytest.mark.parametrize(("units", "reported"), [(10, []), (16, [("dying", "info")]), (20, [("dying", "info")])])
def test_units_lost_in_the_first_steps_are_the_baseline_or_reported_where_they_are_many(train, policy, units, reported):
    training = train({1: 0.3}).sample(4)
    training.rates[1][:units] = 0
    readings, findings = replay(training.layers, training.sample(200).records, policy)
    assert [(f.kind, f.severity) for f in findings] == reported
    assert readings[-1].dead_fraction == pytest.approx(units / 64)


def test_units_lost_after_those_of_the_first_steps_add_up_to_an_alarm(train, policy):
    training = train({1: 0.3}).sample(4)
    training.rates[1][:16] = 0
    training.sample(40)
    training.rates[1][:30] = 0
    _readings, findings = replay(training.layers, training.sample(40).records, policy)
    assert [(f.kind, f.transition, f.severity) for f in findings][:2] == [
        ("dying", "raised", "info"), ("dying", "changed", "critical"),
    ]  # fmt: skip


def test_units_lost_in_the_first_steps_that_return_end_the_report(train, policy):
    training = train({1: 0.3}).sample(4)
    training.rates[1][:16] = 0
    training.sample(40)
    training.rates[1][:16] = 0.3
    _readings, findings = replay(training.layers, training.sample(20).records, policy)
    assert [(f.transition, f.reason) for f in findings][-1] == ("resolved", "its units are active")


def test_units_of_the_baseline_that_returned_and_are_lost_again_are_reported(train, policy):
    training = train({1: 0.3}).sample(4)
    for rate in (0.0, 0.3):
        training.rates[1][:12] = rate
        training.sample(30)
    training.rates[1][:20] = 0
    _readings, findings = replay(training.layers, training.sample(60).records, policy)
    assert findings[0].evidence["baseline_fraction"] == pytest.approx(12 / 64)
    assert (findings[0].kind, findings[0].evidence["units_silent"]) == ("dying", 20)


def test_a_death_during_which_the_loss_kept_falling_is_info(train, policy):
    training = train({1: 0.3}, run_signals={"loss": 1.0}).sample(30)
    for unit in range(0, 48, 2):
        training.rates[1][unit : unit + 2] = 0
        training.run_signals = {"loss": 1.0 - 0.01 * unit}
        training.sample(2)
    _readings, findings = replay(training.layers, training.sample(40).records, policy)
    dead = next(f for f in findings if f.kind == "dead")
    assert (dead.severity, dead.evidence["loss_effect"] < 0) == ("info", True)
