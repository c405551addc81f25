"""Trainings of recurrent networks."""

from __future__ import annotations

import pytest
import torch

import relumine


def train(model, x, steps=3, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
        for _ in range(steps):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return monitor.coverage()


def check_states(record, states):
    """Compare a record with the states after the ReLU, (examples, steps, units)."""
    arrays = record.arrays()
    assert (record.n_examples, record.n_positions) == (states.shape[0], states.shape[0] * states.shape[1])
    assert arrays["active"].tolist() == (states > 0).any(1).sum(0).tolist()
    assert arrays["active_positions"].tolist() == (states > 0).sum((0, 1)).tolist()
    alive = states.amax((0, 1)) > 0
    assert arrays["max"][alive.numpy()] == pytest.approx(states.amax((0, 1))[alive].numpy(), rel=2e-3)
