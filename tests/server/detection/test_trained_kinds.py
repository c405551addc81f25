"""Real trainings, small, of the kinds in which the detector failed: trained through the SDK, replayed through it."""

from __future__ import annotations

from functools import partial

import pytest

from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from research.corpus.recipe import Fault, Loader, Net, Optim, Recipe, Schedule
from research.corpus.training import train

faulty = partial(Recipe, "tested", "bias")


def findings_of(recipe, seed=0):
    """Train a recipe and return the findings of its records."""
    run = train(recipe, seed=seed)
    _readings, findings = replay(run.infos(), run.records(), Policy())
    return findings


def alarms_of(recipe, seed=0):
    return [f for f in findings_of(recipe, seed) if f.severity != "info" and f.transition != "resolved"]


@pytest.mark.parametrize(
    "recipe",
    [
        faulty(Net("mlp", (48, 32)), optim=Optim("adam", 0.003), steps=40, fault=Fault("push", 0.05)),
        faulty(Net("mlp", (64, 64)), optim=Optim("momentum", 0.05), steps=130, schedule=Schedule("warmup", 180),
               fault=Fault("bias_target", -2.0, start=80)),
    ],
    ids=["from the first step", "while the learning rate rises"],
)  # fmt: skip
def test_a_loss_term_that_pushes_units_down_is_not_called_a_high_learning_rate(recipe):
    first = alarms_of(recipe)[0]
    assert (first.kind, first.cause) == ("dying", "negative_bias")


def test_a_learning_rate_too_high_from_the_start_is_still_the_cause_where_its_steps_overshoot():
    recipe = faulty(Net("mlp", (96, 48)), optim=Optim("adam", 0.1), steps=40, fault=Fault("rate", 1.0))
    assert alarms_of(recipe)[0].cause == "high_learning_rate"


def test_an_input_that_was_never_normalized_is_the_cause_and_its_normalization_the_remedy():
    recipe = faulty(Net("mlp", (64, 32)), optim=Optim("momentum", 0.02), steps=40, fault=Fault("gain", 100.0))
    first = alarms_of(recipe)[0]
    assert (first.cause, first.remedies[0].action) == ("input_scale", "normalize_input")
    assert first.evidence["input"]["std"] == pytest.approx(100, rel=0.1)


def test_large_first_weights_are_the_cause_though_their_first_updates_are_large_too():
    recipe = faulty(Net("mlp", (128, 64)), optim=Optim("sgd", 0.05), steps=30, fault=Fault("huge", 40.0))
    assert alarms_of(recipe)[0].cause == "bad_initialization"


def test_layers_behind_one_that_was_born_dead_have_its_cause():
    recipe = faulty(Net("mlp", (96, 48)), dataset="pixels", optim=Optim("sgd", 0.2), steps=15, loader=Loader(batch=64),
                    fault=Fault("negative_mean", 0.6))  # fmt: skip
    born_dead = [f for f in findings_of(recipe) if f.kind == "born_dead"]
    assert len(born_dead) == 2
    assert {f.cause for f in born_dead} == {"bad_initialization"}
    assert all(remedy.action != "lower_learning_rate" for f in born_dead for remedy in f.remedies)


def test_what_a_blackout_of_the_input_silences_is_over_within_ten_sampled_steps_of_its_end():
    recipe = Recipe("tested", "healthy", Net("mlp", (96, 48)), optim=Optim("momentum", 0.02), steps=450,
                    benign=(Fault("stuck", 1.0, start=250, end=330),))  # fmt: skip
    run = train(recipe, seed=0, every=10)
    _readings, findings = replay(run.infos(), run.records(), Policy())
    assert "dying" in {f.kind for f in findings}
    assert {f.cause for f in findings} == {"input_shift"}
    last = {f.layer_id: f.transition for f in findings}  # a layer that was dying goes on as a dead one
    assert set(last.values()) == {"resolved"}
    steps = sorted({record.step for record in run.records() if record.step > 330})
    assert max(f.step for f in findings) <= steps[min(10, len(steps) - 1)]


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize(
    "recipe",
    [
        faulty(Net("mlp", (96, 48)), optim=Optim("momentum", 0.003), steps=260,
               fault=Fault("offset", -10.0, start=200)),
        faulty(Net("mlp", (48, 48)), optim=Optim("sgd", 0.1), steps=240, fault=Fault("offset", 14.0, start=160)),
        faulty(Net("functional", (80, 32)), optim=Optim("momentum", 0.01), steps=90,
               fault=Fault("offset", -12.0, start=45)),
        faulty(Net("mlp", (64, 32)), optim=Optim("momentum", 0.02), steps=80, fault=Fault("offset", -8.0, start=35)),
        faulty(Net("mlp", (80, 48)), optim=Optim("momentum", 0.015), steps=500,
               fault=Fault("offset", -7.0, start=150, ramp=300)),
        faulty(Net("functional", (64, 48)), optim=Optim("sgd", 0.08), steps=450,
               fault=Fault("gain", 60.0, start=150, ramp=250)),
    ],
    ids=["down", "up", "down at step 45", "down at step 35", "drifts for 300 steps", "gain grows for 250 steps"],
)  # fmt: skip
def test_an_input_that_changes_under_the_same_learning_rate_is_the_cause(recipe, seed):
    alarms = alarms_of(recipe, seed)
    assert alarms
    assert alarms[0].cause == "input_shift"
