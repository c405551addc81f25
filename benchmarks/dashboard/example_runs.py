"""Trainings of small networks that die, diverge or stay healthy, so that the dashboard has runs to show.

Each is a real training of a few seconds. "wide" has a layer of 20,000 units, "deep" has 60 layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import relumine

FEATURES = 32
CLASSES = 10
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training with SGD: its model, its learning rate, and the part of it after which the rate is raised."""

    build: Callable[[], nn.Module]
    lr: float = 0.05
    raised_at: float = 1.0
    factor: float = 1.0
    momentum: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)


def mlp(width: int = 64, depth: int = 3, bias: float = 0.0) -> nn.Module:
    """Build a network of blocks, each a linear layer and a ReLU."""
    blocks: list[nn.Module] = []
    size = FEATURES
    for _ in range(depth):
        linear = nn.Linear(size, width)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.constant_(linear.bias, bias)
        blocks.append(nn.Sequential(linear, nn.ReLU()))
        size = width
    return nn.Sequential(*blocks, nn.Linear(size, CLASSES))


def residual(depth: int = 60, width: int = 24) -> nn.Module:
    """Build a deep network in four stages."""
    stages = nn.ModuleDict()
    for stage in range(4):
        blocks = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth // 4)]
        stages[f"stage{stage + 1}"] = nn.Sequential(*blocks)
    return Residual(stages, width)


class Residual(nn.Module):
    """Adds the output of each block to its input."""

    def __init__(self, stages: nn.ModuleDict, width: int) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.stages = stages
        self.blocks = [block for stage in stages.values() for block in stage.children()]
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + 0.2 * block(x)
        return self.head(x)  # type: ignore[no-any-return]  # torch types a module's call as Any


EXAMPLES = {
    # Dies with any seed: at a high rate without momentum the last bits of a sum decide, which differ between machines.
    "died": Example(
        build=mlp, raised_at=0.5, factor=15.0, momentum=0.9, config={"lr": 0.05, "momentum": 0.9, "seed": 1}
    ),
    "healthy": Example(build=mlp, config={"lr": 0.05, "seed": 2}),
    "born-dead": Example(build=lambda: mlp(bias=-6.0), config={"lr": 0.05, "bias": -6.0}),
    "diverged": Example(build=mlp, raised_at=0.3, factor=1e6, config={"lr": 0.05}),
    "deep": Example(build=residual, lr=0.02, raised_at=0.6, factor=35.0, config={"depth": 60, "width": 24}),
    "wide": Example(build=lambda: mlp(width=20_000, depth=1), lr=0.01, raised_at=0.5, factor=300.0),
}


def train(name: str, url: str, steps: int) -> None:
    """Train one example and send it to the server as a run of the project ``examples``."""
    example = EXAMPLES[name]
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(FEATURES, 32), nn.Tanh(), nn.Linear(32, CLASSES))
    model = example.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=example.lr, momentum=example.momentum)
    steps = steps // 6 if name == "wide" else steps
    with relumine.watch(
        model,
        optimizer,
        url=url,
        project="examples",
        name=name,
        group="demo",
        config=example.config,
        tags=["example"],
    ) as monitor:
        for step in range(steps):
            if step == int(example.raised_at * steps):
                optimizer.param_groups[0]["lr"] *= example.factor
            x = torch.randn(BATCH, FEATURES)
            y = teacher(x).argmax(1)
            logits = model(x)
            loss = nn.functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            optimizer.step()
            if step % 10 == 0:
                monitor.log(loss=loss.item(), accuracy=(logits.argmax(1) == y).float().mean().item())
