"""Lightning: a LightningModule in its Trainer, with validation and gradient accumulation."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.frameworks.made_up import BATCH, FunctionalMLP, rows
from benchmarks.frameworks.training import Observe, Trained


class Classifier(lightning.LightningModule):
    """An MLP that remembers its losses."""

    def __init__(self) -> None:
        super().__init__()
        self.net = FunctionalMLP()
        self.losses: list[float] = []

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """Return the loss of a batch."""
        loss = functional.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        """Run the network in eval mode."""
        self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class _Observer(Callback):
    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._observe(pl_module, trainer.optimizers)


def train_classifier(observe: Observe) -> Trained:
    """Train for two epochs, two batches a step."""
    model = Classifier()
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[_Observer(observe)],
    )
    data = rows(12 * BATCH)
    trainer.fit(model, DataLoader(data, BATCH, shuffle=True), DataLoader(data, BATCH))
    return Trained(model, model.losses, trainer.global_step)
