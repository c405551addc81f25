"""A net that no gradient reaches does not learn, whatever still moves its weights; it is not called healthy."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import relumine

STEPS = 400
FAR = -60.0

OPTIMIZERS = {
    "plain": SGD,
    "weight decay": functools.partial(SGD, weight_decay=0.01),
    "momentum": functools.partial(SGD, momentum=0.9),
    "momentum and weight decay": functools.partial(SGD, momentum=0.9, weight_decay=0.01),
    "Adam": Adam,
    "AdamW": AdamW,
}


class Density:
    """A model whose output passes a ReLU outside of it, as the density of a NeRF."""

    def __init__(self, make_optimizer):
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        self.optimizer = make_optimizer(self.model.parameters(), lr=0.02)
        self.x, self.y = torch.randn(32, 6), torch.rand(32)

    def backward(self):
        (torch.relu(self.model(self.x)).squeeze(1) - self.y).square().mean().backward()

    def train(self, steps):
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.backward()
            self.optimizer.step()

    def kill_the_density(self):
        with torch.no_grad():
            self.model[2].bias.fill_(FAR)


@pytest.mark.parametrize("dead_after", [0, 200])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_net_that_no_gradient_reaches_is_not_called_healthy(name, dead_after, capsys):
    training = Density(OPTIMIZERS[name])
    with relumine.watch(training.model, training.optimizer, mode="local") as monitor:
        training.train(dead_after)
        training.kill_the_density()
        training.train(STEPS)
    assert monitor.health().status == "unwatched"
    output = capsys.readouterr().err
    assert "no gradient reaches the watched layers" in output
    assert "no dead layers" not in output


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_that_are_cleared_before_they_are_read_are_no_reason(name, capsys):
    training = Density(OPTIMIZERS[name])
    with torch.no_grad():
        training.model[2].bias.fill_(0.5)
    with relumine.watch(training.model, mode="local") as monitor:
        for _ in range(100):
            training.backward()
            training.optimizer.step()
            training.optimizer.zero_grad(set_to_none=False)
            monitor.step()
    assert "no gradient reaches" not in capsys.readouterr().err
