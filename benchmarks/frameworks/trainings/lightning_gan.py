"""Lightning with manual optimization: generator and discriminator with an optimizer each, in turn."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.frameworks.made_up import BATCH, FEATURES, STEPS
from benchmarks.frameworks.training import Observe, Trained

NOISE = 8


class GAN(lightning.LightningModule):
    """A generator and a discriminator of rows; remembers the losses of both."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(NOISE, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, FEATURES))
        self.discriminator = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 1))
        self.losses: list[float] = []

    def training_step(self, batch: list[Tensor], _index: int) -> None:
        """Make one step of the discriminator and one of the generator."""
        of_generator, of_discriminator = self.optimizers()
        made_up = self.generator(torch.randn(BATCH, NOISE))
        loss = self._loss(batch[0], 1.0) + self._loss(made_up.detach(), 0.0)
        self._step(of_discriminator, loss)
        self._step(of_generator, self._loss(made_up, 1.0))

    def _loss(self, rows: Tensor, label: float) -> Tensor:
        scores = self.discriminator(rows)
        return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.losses.append(loss.item())

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return an Adam for each of both."""
        return [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (self.generator, self.discriminator)]


class _Observer(Callback):
    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._observe(pl_module, trainer.optimizers)


def train_gan(observe: Observe) -> Trained:
    """Train a GAN for one epoch."""
    model = GAN()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[_Observer(observe)],
    )
    trainer.fit(model, DataLoader(TensorDataset(torch.randn(STEPS * BATCH, FEATURES)), BATCH))
    return Trained(model, model.losses, trainer.global_step // 2)
