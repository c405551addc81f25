"""MONAI: its UNet in its SupervisedTrainer."""

from __future__ import annotations

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.losses import DiceLoss
from monai.networks.nets import UNet

from benchmarks.frameworks.made_up import STEPS
from benchmarks.frameworks.training import Observe, Trained


def train_unet(observe: Observe) -> Trained:
    """Train a UNet with ReLU on made-up masks."""
    model = UNet(2, 1, 2, channels=(8, 16, 32), strides=(2, 2), act="RELU", norm="BATCH", num_res_units=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = []
    for _ in range(STEPS // 2):
        batches.append({"image": torch.randn(2, 1, 16, 16), "label": torch.randint(2, (2, 1, 16, 16))})
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=batches,
        network=model,
        optimizer=optimizer,
        loss_function=DiceLoss(to_onehot_y=True, softmax=True),
        decollate=False,
    )
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"]))
    observe(model, optimizer)
    trainer.run()
    return Trained(model, [float(loss) for loss in losses], trainer.state.iteration)
