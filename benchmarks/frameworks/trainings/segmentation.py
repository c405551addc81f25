"""segmentation_models_pytorch: a Unet with a ResNet encoder and its Dice loss."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch

from benchmarks.frameworks.made_up import STEPS, train
from benchmarks.frameworks.training import Observe, Trained


def train_unet(observe: Observe) -> Trained:
    """Train a Unet on made-up masks."""
    model = smp.Unet("resnet18", encoder_weights=None, classes=2)
    batches = [(torch.randn(2, 3, 32, 32), torch.randint(2, (2, 32, 32))) for _ in range(STEPS)]
    loss_function = smp.losses.DiceLoss("multiclass")
    return train(model, torch.optim.AdamW(model.parameters(), lr=1e-3), batches, observe, loss_function)
