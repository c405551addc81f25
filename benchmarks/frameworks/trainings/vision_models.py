"""torchvision's ResNet: each of its blocks uses one ReLU module twice, in place."""

from __future__ import annotations

import torch
from torchvision.models import resnet18

from benchmarks.frameworks.made_up import CLASSES, image_batches, train
from benchmarks.frameworks.training import Observe, Trained


def train_torchvision(observe: Observe) -> Trained:
    """Train a ResNet-18 with SGD."""
    model = resnet18(num_classes=CLASSES)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), image_batches(), observe)
