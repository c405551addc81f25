"""The run's own numbers, each against its own history."""

from __future__ import annotations

import pytest

from relumine.wire import Record
from relumine_server.detection import sentinels
from relumine_server.detection.replay import replay
from relumine_server.detection.state import WINDOW, RunMemory


def told(training, policy, kind):
    _readings, findings = replay(training.layers, training.records, policy)
    return [(f.layer_id, f.transition) for f in findings if f.kind == kind]


def seen(policy, values, **fixed):
    run = RunMemory()
    for step, value in enumerate(values, start=1):
        sentinels.see_run(run, Record(layer_id=0, first_step=step, step=step, **fixed | value), policy)
    return run


def test_a_jump_is_measured_against_the_median_and_keeps_what_was_before(policy):
    run = seen(policy, [{"learning_rates": [0.01, 0.1]}] * 20 + [{"learning_rates": [0.01, 0.4]}] * 60)
    assert (run.jump_step, run.jump_before, run.rate) == (21, 0.1, 0.4)
    assert len(run.windows["rate"]) == WINDOW


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.9])
def test_a_rate_that_falls_or_rises_a_little_is_no_event(policy, factor):
    run = seen(policy, [{"learning_rate": 0.1}] * 20 + [{"learning_rate": 0.1 * factor}] * 5)
    assert run.jump_step is None


def test_a_cosine_is_no_event_though_it_climbs_far(policy):
    rates = [0.001 * 1.08**step for step in range(60)]
    assert seen(policy, [{"learning_rate": rate} for rate in rates]).jump_step is None


def test_an_input_that_stays_different_becomes_the_usual_one(policy):
    usual, other = {"input_mean": 0.0, "input_std": 1.0}, {"input_mean": 5.0, "input_std": 1.0}
    assert seen(policy, [usual] * 20 + [other] * 5).novel_step == 21
    settled = seen(policy, [usual] * 20 + [other] * 60)
    assert (settled.novel_step, settled.novelty) == (21, 0.0)


def test_noise_of_the_batches_is_no_novelty(policy):
    noisy = [{"input_mean": 0.1 * (-1) ** step, "input_std": 1.0 + 0.02 * (step % 5)} for step in range(100)]
    assert seen(policy, noisy).novel_step is None


def test_the_effect_on_the_loss_needs_looks_before_and_after(policy):
    run = seen(policy, [{"loss": 1.0}] * 10 + [{"loss": 1.5}] * 5)
    assert sentinels.loss_effect(run, 11) == pytest.approx(0.5)
    assert sentinels.loss_effect(run, 14) is None
    assert sentinels.loss_effect(run, 2) is None


def test_an_output_that_wavers_around_the_limit_does_not_flap(train, policy):
    training = train({1: 0.3}).go(20)
    for turn in range(60):
        training.run = {"output_spread": 0.001 if turn % 3 else 0.05}
        training.go(1)
    assert told(training, policy, "constant_output") == [(0, "raised")]


def test_one_sampled_step_with_a_nan_is_one_divergence_whatever_its_layers_say(train, policy):
    training = train({1: 0.3, 2: 0.3, 3: 0.3}).go(5)
    training.nonfinite = 1
    training.go(1)
    training.nonfinite = 0
    assert told(training.go(2), policy, "diverged") == [(0, "raised")]
    assert told(training.go(1), policy, "diverged") == [(0, "raised"), (0, "resolved")]


def test_a_run_resumed_from_an_earlier_step_can_still_end_its_divergence(train, policy):
    training = train({1: 0.3}).go(10)
    training.nonfinite = 1
    training.go(1)
    training.nonfinite, training.last_step = 0, 20
    assert told(training.go(4), policy, "diverged")[-1] == (0, "resolved")
