"""Signals of the run, each against its own history."""

from __future__ import annotations

import pytest

from relumine.schemas.record import Record
from relumine_server.detection import run_signals
from relumine_server.detection.replay import replay
from relumine_server.detection.state import WINDOW_LENGTH, RunMemory


def transitions(training, policy, kind):
    _readings, findings = replay(training.layers, training.records, policy)
    return [(f.layer_id, f.transition) for f in findings if f.kind == kind]


def run_after(policy, values):
    """Return the memory of a run after one record for each dict of ``values``."""
    run = RunMemory()
    for step, value in enumerate(values, start=1):
        run_signals.update_run(run, Record(layer_id=0, first_step=step, step=step, **value), policy)
    return run


def test_a_jump_is_measured_against_the_median_which_is_remembered(policy):
    run = run_after(policy, [{"learning_rates": [0.01, 0.1]}] * 20 + [{"learning_rates": [0.01, 0.4]}] * 60)
    assert (run.jump_step, run.jump_before, run.rate) == (21, 0.1, 0.4)
    assert len(run.windows["rate"]) == WINDOW_LENGTH


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.9])
def test_a_learning_rate_that_falls_or_rises_a_little_is_no_jump(policy, factor):
    run = run_after(policy, [{"learning_rate": 0.1}] * 20 + [{"learning_rate": 0.1 * factor}] * 5)
    assert run.jump_step is None


def test_a_learning_rate_that_climbs_slowly_is_no_jump_however_far_it_climbs(policy):
    rates = [0.001 * 1.08**step for step in range(60)]
    assert run_after(policy, [{"learning_rate": rate} for rate in rates]).jump_step is None


def test_an_input_that_stays_different_becomes_the_usual_one(policy):
    usual = {"input_mean": 0.0, "input_std": 1.0}
    different = {"input_mean": 5.0, "input_std": 1.0}
    assert run_after(policy, [usual] * 20 + [different] * 5).novel_step == 21
    settled = run_after(policy, [usual] * 20 + [different] * 400)
    assert (settled.novel_step, settled.novelty) == (21, 0.0)


def test_noise_between_batches_is_no_novelty(policy):
    noisy = [{"input_mean": 0.1 * (-1) ** step, "input_std": 1.0 + 0.02 * (step % 5)} for step in range(100)]
    assert run_after(policy, noisy).novel_step is None


def test_the_effect_on_the_loss_needs_sampled_steps_before_and_after(policy):
    run = run_after(policy, [{"loss": 1.0}] * 10 + [{"loss": 1.5}] * 5)
    assert run_signals.loss_effect(run, 11) == pytest.approx(0.5)
    assert run_signals.loss_effect(run, 14) is None
    assert run_signals.loss_effect(run, 2) is None


def test_an_output_spread_around_the_threshold_does_not_flap(train, policy):
    training = train({1: 0.3}).sample(20)
    for turn in range(60):
        training.run_signals = {"output_spread": 0.001 if turn % 3 else 0.05}
        training.sample(1)
    assert transitions(training, policy, "constant_output") == [(0, "raised")]


def test_a_sampled_step_with_nonfinite_values_is_one_divergence_whatever_the_number_of_layers(train, policy):
    training = train({1: 0.3, 2: 0.3, 3: 0.3}).sample(5)
    training.nonfinite = 1
    training.sample(1)
    training.nonfinite = 0
    assert transitions(training.sample(2), policy, "diverged") == [(0, "raised")]
    assert transitions(training.sample(1), policy, "diverged") == [(0, "raised"), (0, "resolved")]


def test_a_run_resumed_from_an_earlier_step_can_still_end_its_divergence(train, policy):
    training = train({1: 0.3}).sample(10)
    training.nonfinite = 1
    training.sample(1)
    training.nonfinite = 0
    training.last_step = 20
    assert transitions(training.sample(4), policy, "diverged")[-1] == (0, "resolved")


CONSTANT_INPUT = {"input_mean": 0.0, "input_std": 0.0, "output_spread": 0.0}


def test_an_output_that_follows_a_constant_input_is_info_and_over_soon_after_the_input_is_back(train, policy):
    training = train({1: 0.3}).sample(30)
    training.run_signals = CONSTANT_INPUT
    training.sample(12)
    training.run_signals = {"output_spread": 0.001}  # the net has to learn again
    training.sample(40)
    _readings, findings = replay(training.layers, training.records, policy)
    assert [(f.kind, f.transition, f.severity) for f in findings] == [
        ("constant_output", "raised", "info"), ("constant_output", "resolved", "info"),
    ]  # fmt: skip
    assert findings[1].step == training.last_step - 380


def test_an_output_that_stays_constant_with_its_input_becomes_critical(train, policy):
    training = train({1: 0.3}).sample(30)
    training.run_signals = CONSTANT_INPUT
    _readings, findings = replay(training.layers, training.sample(60).records, policy)
    assert [(f.transition, f.severity, f.cause) for f in findings] == [
        ("raised", "info", "input_shift"), ("changed", "critical", "input_shift"),
    ]  # fmt: skip


def test_a_burst_of_sampled_steps_does_not_make_an_unusual_input_the_usual_one(policy):
    usual = {"input_mean": 0.0, "input_std": 1.0}
    burst = run_after(policy, [usual] * 20 + [{"input_mean": 0.0, "input_std": 0.0}] * 60)
    assert burst.novel_records == 60
