"""Small networks whose steps are watched, for tests of what is a unit."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn import functional

import relumine


class Net(nn.Module):
    """A hidden layer, an output of one number and an embedding, and a forward given as a function."""

    def __init__(self, run, outputs=1):
        super().__init__()
        self.fc = nn.Linear(6, 9)
        self.out = nn.Linear(9, outputs)
        self.scale = nn.Parameter(torch.ones(9))
        self.run = run

    def forward(self, x, *rest):
        return self.run(self, x, *rest)


def hidden(m, x):
    return functional.relu(m.fc(x))


def watch_steps(model, batches, **options):
    """Train on the batches, without an error or a warning; return the coverage and the number of sampled steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with (
        warnings.catch_warnings(),
        relumine.watch(model, optimizer, every=1, **options) as monitor,
    ):
        warnings.simplefilter("error")
        for batch in batches:
            model(*batch).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        rows, stats = monitor.coverage(), monitor.sdk_stats()
    assert (stats["errors"], stats["last_error"]) == (0, None)
    assert stats["sampled_steps"] == len(batches)
    return rows


def batches(*sizes):
    return [(torch.randn(size, 6),) for size in sizes]
