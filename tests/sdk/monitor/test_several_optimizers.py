"""Steps and learning rates where there are several models, optimizers and closures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine
from tests.helpers.relu_reference import Executions, compare


def test_several_models_with_several_optimizers_and_closures(memory):
    torch.manual_seed(1)
    models = {
        "encoder": nn.Sequential(nn.Linear(6, 9), nn.ReLU()),
        "decoder": nn.Sequential(nn.Linear(9, 6), nn.ReLU()),
    }
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.0) for model in models.values()]
    x = torch.randn(16, 6)

    def closure():
        loss = models["decoder"](models["encoder"](x)).square().mean()
        loss.backward()
        return loss

    with relumine.watch(models, optimizers, every=1, strict=True) as monitor, Executions() as executions:
        optimizers[0].step(closure)
        optimizers[1].step()
        rows = monitor.coverage()
    assert set(rows) == {"encoder.1", "decoder.1"}
    compare(executions.preactivations, rows, memory)


def test_layers_have_the_learning_rate_of_their_own_optimizer(memory):
    generator, critic = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    first = torch.optim.SGD(generator.parameters(), lr=0.1)
    second = torch.optim.Adam(critic.parameters(), lr=0.003)
    with relumine.watch({"g": generator, "d": critic}, [first, second], every=1, strict=True):
        for _ in range(3):
            critic(generator(torch.randn(8, 3))).sum().backward()
            first.step()
            second.step()
    assert [record.step for record in memory.records("g.1")] == [1, 2, 3]
    assert memory.records("g.1")[0].learning_rate == pytest.approx(0.1)
    assert memory.records("d.1")[0].learning_rate == pytest.approx(0.003)


def test_optimizers_that_step_in_turn_make_one_step_per_round(memory):
    generator, critic = nn.Sequential(nn.Linear(3, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    slow, fast = (torch.optim.SGD(model.parameters(), lr=0.01) for model in (generator, critic))
    with relumine.watch([generator, critic], [slow, fast], every=1, strict=True) as monitor:
        for turn in range(40):
            critic(generator(torch.randn(8, 3)).detach()).mean().backward()
            fast.step()
            if turn % 4 == 3:
                critic(generator(torch.randn(8, 3))).mean().backward()
                slow.step()
        stats = monitor.sdk_stats()
    assert stats["steps"] == 40
    assert {r.layer_id for r in memory.records()} == {0, 1, 2}
    assert not any(r.layer_id and not r.n_examples for r in memory.records())


@pytest.mark.parametrize("per_round", [2, 3, 7])
@pytest.mark.parametrize("is_fast_one_first", [True, False])
@pytest.mark.parametrize("optimizer_type", [torch.optim.SGD, torch.optim.Adam])
def test_every_step_of_the_optimizer_that_steps_most_often_counts(per_round, is_fast_one_first, optimizer_type, memory):
    actor, critic = nn.Sequential(nn.Linear(3, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    slow, fast = (optimizer_type(model.parameters(), lr=0.01) for model in (actor, critic))
    passed = [fast, slow] if is_fast_one_first else [slow, fast]
    with relumine.watch([actor, critic], passed, every=1, strict=True) as monitor:
        for step in range(1, 30):
            critic(actor(torch.randn(8, 3))).mean().backward()
            fast.step()
            if step % per_round == 0:
                slow.step()
            assert step < 2 or monitor.sdk_stats()["steps"] == step
    assert memory.records("1.1")[-1].step == 29


def test_a_closure_counts_as_one_step(memory):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    x = torch.randn(8, 3)

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(2):
            optimizer.step(closure)
    assert [record.step for record in memory.records("1")] == [1, 2]
    assert memory.records("1")[0].n_examples >= 8
