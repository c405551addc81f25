"""PyTorch Lightning: one callback, which also stops the training at the first critical alert.

relumine-server serve                              # in another terminal
python examples/lightning_trainer.py [--dying]     # --dying: the learning rate is 50 times too high
"""

from __future__ import annotations

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import relumine
from relumine.integrations.lightning import RelumineCallback


class Classifier(LightningModule):
    """An ordinary module, without any Relumine code."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch."""
        inputs, labels = batch
        return functional.cross_entropy(self.net(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main(*, dying: bool) -> None:
    """Train a classifier of 16 inputs."""
    torch.manual_seed(0)
    inputs = torch.randn(4_000, 16)
    labels = torch.bucketize(inputs[:, 0] + inputs[:, 1] * inputs[:, 2], torch.tensor([-0.5, 0.5]))
    callback = RelumineCallback(
        project="examples",
        name="lightning-dying" if dying else "lightning",
        on_alert=relumine.stop_training,  # sets trainer.should_stop at the first critical alert
    )
    trainer = Trainer(max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[callback])
    trainer.fit(
        Classifier(lr=0.1 if dying else 0.002),
        DataLoader(TensorDataset(inputs, labels), batch_size=64, shuffle=True),
    )
    if callback.monitor is not None:
        for alert in callback.monitor.alerts():
            print(f"[{alert.severity}] {alert.message}")
    print(f"stopped after {trainer.global_step} steps")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
