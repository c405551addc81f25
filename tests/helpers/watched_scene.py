"""A small training that is watched, and whatever a test does to it."""

from __future__ import annotations

import torch
from torch.nn import functional

import relumine


class Scene:
    """A small training that is watched, and whatever a test does to it."""

    def __init__(self, model, memory, **options):
        self.model = model
        self.memory = memory
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        self.monitor = relumine.watch(model, self.optimizer, name="demo", **options)
        self.forward = model
        torch.manual_seed(5)

    def train(self, steps):
        for _ in range(steps):
            x = torch.randn(32, 6)
            y = torch.randint(0, 2, (32,))
            self.optimizer.zero_grad()
            functional.cross_entropy(self.forward(x), y).backward()
            self.optimizer.step()

    def reasons_sent(self):
        return [upload.watching.reason for upload in self.memory.uploads if upload.watching is not None]
