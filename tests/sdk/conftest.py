"""Small real trainings for the SDK's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from relumine._runtime.log import StderrHandler
from relumine.testing import InMemoryTransport


@pytest.fixture(autouse=True)
def _default_output(monkeypatch):
    """Lets the SDK write to stderr, though pytest's handler on the root logger counts as configured logging."""
    monkeypatch.setattr(StderrHandler, "_is_replaced", lambda _handler: False)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("RELUMINE_URL", "RELUMINE_MODE", "RELUMINE_RUN_ID", "RELUMINE_API_KEY", "RELUMINE_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "relumine"))
    torch.set_num_threads(1)


@pytest.fixture
def memory():
    """Uploads end here instead of at a server."""
    with InMemoryTransport() as transport:
        yield transport


@pytest.fixture
def mlp() -> Callable[[], nn.Sequential]:
    """Builds a small multilayer perceptron, the same each time."""

    def build() -> nn.Sequential:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))

    return build


@pytest.fixture
def train() -> Callable[..., list[float]]:
    """Trains for some steps on noise and returns the losses."""

    def run(model, optimizer, steps=40, shape=(32, 6), after_step=lambda step: None) -> list[float]:
        torch.manual_seed(5)
        losses = []
        for step in range(steps):
            x = torch.randn(*shape)
            y = torch.randint(0, 2, (shape[0],))
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            after_step(step)
        return losses

    return run
