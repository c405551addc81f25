"""skorch: a classifier in the manner of scikit-learn, with its own split for validation."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from benchmarks.frameworks.made_up import BATCH, FunctionalMLP, rows
from benchmarks.frameworks.training import Observe, Trained


class _Observer(Callback):
    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    def on_train_begin(self, net: Any, **_kwargs: Any) -> None:
        self._observe(net.module_, net.optimizer_)


def train_classifier(observe: Observe) -> Trained:
    """Train an MLP for four epochs."""
    net = NeuralNetClassifier(
        FunctionalMLP,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.01,
        max_epochs=4,
        batch_size=BATCH,
        callbacks=[("observer", _Observer(observe))],
        verbose=0,
    )
    x, target = rows(10 * BATCH).tensors
    net.fit(x.numpy(), target.numpy())
    losses = [batch["train_loss"] for epoch in net.history for batch in epoch["batches"] if "train_loss" in batch]
    return Trained(net.module_, losses, len(losses))
