"""timm's models: activations as modules, and inside of its own BatchNorm."""

from __future__ import annotations

import timm
import torch

from benchmarks.frameworks.made_up import CLASSES, image_batches, train
from benchmarks.frameworks.training import Observe, Trained


def train_resnet(observe: Observe) -> Trained:
    """Train a small ResNet with SGD."""
    return _train("resnet10t", observe)


def train_efficientnet(observe: Observe) -> Trained:
    """Train a network whose BatchNorms apply the activation: BatchNormAct2d with ReLU6."""
    return _train("efficientnet_lite0", observe)


def _train(name: str, observe: Observe) -> Trained:
    model = timm.create_model(name, num_classes=CLASSES)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.01), image_batches(), observe)
