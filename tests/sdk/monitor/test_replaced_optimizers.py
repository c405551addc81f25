"""A training may go on with an optimizer that ``watch`` was not given; one that steps in turn is none of these."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

import relumine
from relumine._torch.step_counter import StepCounter
from tests.helpers.step_hooks import step_hooks


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.randn(8, 6)).square().mean().backward()
    optimizer.step()


def test_the_optimizer_made_after_unfreezing_is_followed_and_every_step_counts(mlp, memory, capsys):
    model = mlp()
    head = SGD(model[-1].parameters(), lr=0.01)
    with relumine.watch(model, head, every=1, strict=True) as monitor:
        for _ in range(20):
            step(model, head)
        whole = Adam(model.parameters(), lr=0.003)
        for _ in range(80):
            step(model, whole)
        assert monitor.sdk_stats()["steps"] == 100
    records = memory.records("1")
    assert records[-1].step == 100
    assert records[-1].learning_rate == pytest.approx(0.003)
    assert len(records) >= 95
    assert capsys.readouterr().err.count("the training replaced its optimizer") == 1


def test_an_optimizer_that_replaces_the_watched_one_before_its_first_step_is_followed(mlp, memory):
    model = mlp()
    with relumine.watch(model, SGD(model.parameters(), lr=0.01), every=1, strict=True) as monitor:
        optimizer = SGD(model.parameters(), lr=0.02)
        for _ in range(50):
            step(model, optimizer)
        assert monitor.sdk_stats()["steps"] == 50


def test_trainings_that_make_a_new_optimizer_for_each_phase_or_step_are_watched_to_the_end(mlp, memory):
    for steps_each in (100, 20, 2, 1):
        model = mlp()
        optimizer = SGD(model.parameters(), lr=0.01)
        with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
            for _ in range(200 // steps_each):
                for _ in range(steps_each):
                    step(model, optimizer)
                optimizer = SGD(model.parameters(), lr=0.01)
            assert 190 <= monitor.sdk_stats()["steps"] <= 200, steps_each


def test_phases_that_alternate_between_two_optimizers_all_count(mlp, memory):
    model = mlp()
    first, second = SGD(model.parameters(), lr=0.01), SGD(model.parameters(), lr=0.02)
    with relumine.watch(model, first, every=1, strict=True) as monitor:
        for _ in range(3):
            for optimizer in (first, second):
                for _ in range(40):
                    step(model, optimizer)
        assert monitor.sdk_stats()["steps"] == 240


@pytest.mark.parametrize("critic_steps", [1, 2, 5, 8])
def test_an_optimizer_that_was_left_out_and_steps_in_turn_changes_no_count(critic_steps, memory):
    generator = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    critic = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    slow, fast = SGD(generator.parameters(), lr=0.01), SGD(critic.parameters(), lr=0.01)
    both = nn.Sequential(generator, critic)
    with relumine.watch([generator, critic], slow, every=1, strict=True) as monitor:
        for _ in range(30):
            for _ in range(critic_steps):
                step(both, fast)
            step(both, slow)
        assert monitor.sdk_stats()["steps"] == 30


def test_optimizers_of_other_models_are_ignored(mlp, memory):
    model, probe = mlp(), mlp()
    optimizer, other = SGD(model.parameters(), lr=0.01), SGD(probe.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        step(model, optimizer)
        for _ in range(50):
            step(probe, other)
        step(model, optimizer)
        assert monitor.sdk_stats()["steps"] == 2


def test_without_an_optimizer_only_monitor_step_counts(mlp, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, every=1, strict=True) as monitor:
        for _ in range(20):
            step(model, optimizer)
            monitor.step()
        assert monitor.sdk_stats()["steps"] == 20
        assert monitor._session.loop.step_counter.steps_of_others == 20


def test_a_replaced_optimizer_is_let_go(mlp, memory):
    model = mlp()
    optimizer = Adam(model.parameters())
    with relumine.watch(model, optimizer, strict=True):
        step(model, optimizer)
        replaced = weakref.ref(optimizer)
        optimizer = Adam(model.parameters())
        for _ in range(5):
            step(model, optimizer)
        gc.collect()
        assert replaced() is None


def test_a_counter_that_nobody_holds_leaves_no_hook(mlp):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    counter = weakref.ref(StepCounter([optimizer], lambda: None))
    assert step_hooks() == 1
    del optimizer
    gc.collect()
    assert counter() is None
    assert step_hooks() == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("whole", [False, True])
def test_steps_inside_of_compiled_code_count_and_are_sampled(whole, mlp, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)

    def train_step():
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()

    if whole:
        compiled = torch.compile(train_step, backend="eager")
    else:
        compiled_step = torch.compile(optimizer.step, backend="eager")

        def compiled():
            optimizer.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            compiled_step()

    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(20):
            compiled()
        stats = monitor.sdk_stats()
    assert stats["steps"] == 20
    assert stats["sampled_steps"] >= 19
    assert stats["errors"] == 0
