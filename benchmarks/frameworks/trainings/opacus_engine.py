"""Opacus: differentially private training, with gradients per example."""

from __future__ import annotations

import torch
from opacus import PrivacyEngine
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.frameworks.made_up import BATCH, CLASSES, STEPS
from benchmarks.frameworks.training import Observe, Trained


def train_private(observe: Observe) -> Trained:
    """Train a small convolutional network."""
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 25, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )
    count = STEPS * BATCH
    data = TensorDataset(torch.randn(count, 1, 12, 12), torch.randint(CLASSES, (count,)))
    model, optimizer, loader = PrivacyEngine().make_private(
        module=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.05),
        data_loader=DataLoader(data, BATCH),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    observe(model, optimizer)
    losses = []
    for x, target in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return Trained(model, losses, len(losses))
