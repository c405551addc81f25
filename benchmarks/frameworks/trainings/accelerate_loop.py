"""Accelerate: a plain loop with its wrapped optimizer and scheduler, two batches a step."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.frameworks.made_up import BATCH, FunctionalMLP, rows
from benchmarks.frameworks.training import Observe, Trained


def train_classifier(observe: Observe) -> Trained:
    """Train an MLP for one epoch."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = FunctionalMLP()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    model, optimizer, loader = accelerator.prepare(net, adam, DataLoader(rows(), BATCH, shuffle=True))
    observe(model, optimizer)
    losses = []
    steps = 0
    for x, target in loader:
        with accelerator.accumulate(model):
            loss = functional.cross_entropy(model(x), target)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        steps += accelerator.sync_gradients
        losses.append(loss.item())
    return Trained(net, losses, steps)
