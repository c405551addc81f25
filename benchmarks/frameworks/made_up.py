"""Made-up data, small models, and a plain training loop, for frameworks that leave these to the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.frameworks.training import Observe, Trained

STEPS = 24
BATCH = 8
CLASSES = 4
FEATURES = 16


def mlp() -> nn.Sequential:
    """Return a classifier of ``FEATURES`` features, with ReLU modules."""
    return nn.Sequential(
        nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(inplace=True), nn.Linear(32, CLASSES)
    )


class FunctionalMLP(nn.Module):
    """A classifier of ``FEATURES`` features, with ReLUs called as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 32)
        self.second = nn.Linear(32, 32)
        self.last = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of each class, (examples, classes)."""
        x = functional.relu(self.first(x))
        x = torch.clamp(self.second(x), min=0)
        return self.last(x)  # type: ignore[no-any-return]


def rows(count: int = STEPS * BATCH) -> TensorDataset:
    """Return examples (count, features) and classes (count,)."""
    return TensorDataset(torch.randn(count, FEATURES), torch.randint(CLASSES, (count,)))


def row_batches(steps: int = STEPS) -> list[tuple[Tensor, Tensor]]:
    """Return ``steps`` batches of rows."""
    return [(torch.randn(BATCH, FEATURES), torch.randint(CLASSES, (BATCH,))) for _ in range(steps)]


def image_batches(size: int = 32, channels: int = 3, steps: int = STEPS) -> list[tuple[Tensor, Tensor]]:
    """Return ``steps`` batches of four images and their classes."""
    return [(torch.randn(4, channels, size, size), torch.randint(CLASSES, (4,))) for _ in range(steps)]


def train(
    model: nn.Module,
    optimizer: Any,
    batches: list[tuple[Tensor, Tensor]],
    observe: Observe,
    loss_function: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> Trained:
    """Train with a plain loop, one step per batch."""
    observe(model, optimizer)
    losses = []
    model.train()
    for x, target in batches:
        optimizer.zero_grad()
        loss = loss_function(model(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return Trained(model, losses, len(batches))
