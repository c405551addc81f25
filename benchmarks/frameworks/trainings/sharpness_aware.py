"""pytorch_optimizer's SAM: two forwards and backwards per step, and an optimizer inside of an optimizer."""

from __future__ import annotations

import torch
from pytorch_optimizer import SAM
from torch.nn import functional

from benchmarks.frameworks.made_up import mlp, row_batches
from benchmarks.frameworks.training import Observe, Trained


def train_classifier(observe: Observe) -> Trained:
    """Train an MLP with sharpness-aware minimization of SGD."""
    model = mlp()
    optimizer = SAM(model.parameters(), base_optimizer=torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9)
    observe(model, optimizer)
    losses = []
    batches = row_batches()
    for x, target in batches:
        loss = functional.cross_entropy(model(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.first_step(zero_grad=True)
        functional.cross_entropy(model(x), target).backward()  # type: ignore[no-untyped-call]
        optimizer.second_step(zero_grad=True)
        losses.append(loss.item())
    return Trained(model, losses, len(batches))
