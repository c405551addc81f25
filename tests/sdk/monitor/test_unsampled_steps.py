"""Between two sampled steps the hook counts alone. What has to be noticed at a step must not wait for the next one."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

import relumine
from relumine._monitor.step_loop import StepLoop
from relumine._torch.step_counter import FIRST_STEPS_LOOKED_AT
from relumine.testing import InMemoryTransport
from tests.helpers.notification_samples import alert
from tests.helpers.step_hooks import step_hooks

RARELY = 50
QUIET_STEPS = FIRST_STEPS_LOOKED_AT + 70


def step(model, *optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()
    model(torch.randn(8, 6)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


def train(model, *optimizers, steps):
    for _ in range(steps):
        step(model, *optimizers)


@pytest.fixture
def calls(monkeypatch):
    """The calls of the whole work after a step, counted."""
    counted = Counter()
    original = StepLoop.on_optimizer_step

    def on_optimizer_step(loop):
        counted["steps"] += 1
        original(loop)

    monkeypatch.setattr(StepLoop, "on_optimizer_step", on_optimizer_step)
    return counted


def test_the_hook_counts_nearly_all_steps_alone_and_the_due_ones_are_sampled(mlp, memory, calls):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1_000)
    with relumine.watch(model, optimizer, every=RARELY, strict=True) as monitor:
        for _ in range(10 * RARELY):
            step(model, optimizer)
            schedule.step()
        assert monitor.sdk_stats()["steps"] == 10 * RARELY
    assert [record.step for record in memory.records("1")] == list(range(1, 10 * RARELY, RARELY))
    assert calls["steps"] <= FIRST_STEPS_LOOKED_AT + 3 * 10 + 10


def test_a_training_that_calls_step_itself_is_sampled_at_the_due_steps(mlp, memory, calls):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, every=RARELY, strict=True) as monitor:
        for _ in range(4 * RARELY):
            step(model, optimizer)
            monitor.step()
        assert monitor.sdk_stats()["steps"] == 4 * RARELY
        assert monitor.health().status != "unwatched"
    assert [record.step for record in memory.records("1")] == list(range(1, 4 * RARELY, RARELY))
    assert calls["steps"] <= 3 * 4


def groups_of(model):
    return [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[2].parameters(), "lr": 0.001}]


@pytest.mark.parametrize("which", ["the only group", "another group", "another optimizer", "a number without a point"])
def test_a_jump_of_any_learning_rate_is_noticed_at_the_very_step(which, mlp, memory):
    model = mlp()
    optimizers = [SGD(model.parameters(), lr=0.02)]
    if which == "another group":
        optimizers = [SGD(groups_of(model), lr=0.02)]
    if which == "another optimizer":
        optimizers = [SGD(model[0].parameters(), lr=0.02), SGD(model[2].parameters(), lr=0.001)]
    with relumine.watch(model, optimizers, strict=True) as monitor:
        monitor._session.schedule.request_interval(100)
        train(model, *optimizers, steps=QUIET_STEPS)
        jump = monitor.sdk_stats()["steps"] + 1
        optimizers[-1].param_groups[-1]["lr"] = 1 if which == "a number without a point" else 0.5
        train(model, *optimizers, steps=10)
        assert monitor.sdk_stats()["bursts"] == 1
    sampled = {record.step for record in memory.records("1")}
    assert set(range(jump + 1, jump + 10)) <= sampled
    assert len(sampled) < jump


def test_an_alert_is_passed_on_at_the_step_after_it_was_received(mlp, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    passed_on = []
    with relumine.watch(model, optimizer, every=10_000, on_alert=passed_on.append, strict=True) as monitor:
        train(model, optimizer, steps=QUIET_STEPS)
        monitor._session.dispatcher.receive([alert(state="firing")])
        assert not passed_on
        step(model, optimizer)
        assert len(passed_on) == 1


def test_optimizers_in_turn_make_one_step_per_round_however_long_they_train(mlp, memory):
    model = mlp()
    first = SGD(model[0].parameters(), lr=0.01)
    second = SGD(model[2].parameters(), lr=0.01)
    with relumine.watch(model, [first, second], every=RARELY, strict=True) as monitor:
        train(model, first, second, steps=3 * RARELY)
        train(model, first, steps=RARELY)
        assert monitor.sdk_stats()["steps"] == 4 * RARELY
        train(model, second, steps=RARELY)  # the one that goes on alone leads, after a step that might be a round's
        assert 5 * RARELY - 1 <= monitor.sdk_stats()["steps"] <= 5 * RARELY


@pytest.mark.parametrize("critic_steps", [1, 5])
def test_an_optimizer_of_no_run_between_the_steps_is_neither_counted_nor_followed(critic_steps, mlp, memory, calls):
    model, critic = mlp(), nn.Linear(6, 1)
    optimizer = SGD(model.parameters(), lr=0.01)
    other = SGD(critic.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=RARELY, strict=True) as monitor:
        for _ in range(4 * RARELY):
            train(critic, other, steps=critic_steps)
            step(model, optimizer)
        assert monitor.sdk_stats()["steps"] == 4 * RARELY
        assert monitor._session.loop.step_counter.most_foreign_steps == critic_steps
        assert monitor._session.loop.step_counter.foreign_steps == 0
        train(critic, other, steps=3)
        assert monitor._session.loop.step_counter.foreign_steps == 3
    assert calls["steps"] <= FIRST_STEPS_LOOKED_AT + 3 * 4 + 4


def test_an_optimizer_made_after_many_quiet_steps_is_followed_and_every_step_counts(mlp, memory):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=RARELY, strict=True) as monitor:
        train(model, optimizer, steps=QUIET_STEPS)
        replacement = Adam(model.parameters(), lr=0.003)
        train(model, replacement, steps=QUIET_STEPS)
        assert monitor.sdk_stats()["steps"] == 2 * QUIET_STEPS


@pytest.mark.parametrize("lr", [None, "missing", torch.tensor(0.01)])
def test_a_group_without_a_number_as_its_learning_rate_is_no_error(lr, mlp, memory):
    model = mlp()

    class WithoutRate(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for parameter in model.parameters():
                parameter.sub_(parameter.grad, alpha=0.01)

    optimizer = WithoutRate(model.parameters(), {} if isinstance(lr, str) else {"lr": lr})
    with relumine.watch(model, optimizer, every=10, strict=True) as monitor:
        train(model, optimizer, steps=QUIET_STEPS)
        assert monitor.sdk_stats()["steps"] == QUIET_STEPS
        assert monitor.sdk_stats()["errors"] == 0
    assert len(memory.records("1")) == -(-QUIET_STEPS // 10)


def test_steps_of_a_closed_monitor_cost_no_hook(mlp):
    model = mlp()
    optimizer = SGD(model.parameters(), lr=0.01)
    with InMemoryTransport():
        monitor = relumine.watch(model, optimizer, every=RARELY)
        train(model, optimizer, steps=QUIET_STEPS)
        monitor.close()
    assert step_hooks(optimizer) == 0
