"""Models whose units can be made dead one by one, and inputs for them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

FAR = -60.0
ALL = tuple(range(16))


class Block(nn.Module):
    """A residual block: its inner ReLU has one consumer, its outer one reads a sum."""

    def __init__(self, width=6):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(2, 6, 3), Block(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


class Branches(nn.Module):
    """Function calls only: two consumers of one ReLU, one of them grouped, and permutations before the last layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.left, self.right = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3, groups=2)
        self.head, self.other = nn.Linear(4 * 64, 3), nn.Linear(4, 3)

    def forward(self, x):
        h = functional.dropout(torch.relu(self.conv(x)), 0.1, self.training)
        left, right = functional.relu(self.left(h)), self.right(h).clamp(min=0)
        return self.head(left.permute(0, 2, 3, 1).flatten(1)) + self.other(right.mean((2, 3)))


def flattened():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, groups=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(6 * 9, 5),
    )


def perceptron():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))


def normed():
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def kill(layer, *units):
    """Make units of a Linear, convolution or BatchNorm inactive on all inputs."""
    with torch.no_grad():
        layer.bias.fill_(0.4)  # so that no other unit is inactive by chance
        layer.bias[list(units)] = FAR


CASES = {
    "perceptron": (perceptron, (64, 6), {"0": (1, 5), "2": (0, 3)}, {"1": (1, 5), "3": (0, 3)}),
    "sequences": (perceptron, (8, 9, 6), {"0": (1, 5), "2": (0, 3)}, {"1": (1, 5), "3": (0, 3)}),
    "whole layers": (perceptron, (64, 6), {"0": ALL[:16], "2": ALL[:8]}, {"1": ALL[:16], "3": ALL[:8]}),
    "batch norm": (normed, (64, 6), {"1": (2, 7)}, {"2": (2, 7)}),
    "convolutions": (flattened, (16, 2, 12, 12), {"1": (3,), "4": (0, 5)}, {"2": (3,), "5": (0, 5)}),
    "residual": (ResNet, (16, 2, 8, 8), {"block.bn1": (0, 4)}, {"block.relu": (0, 4)}),
    "branches": (
        Branches,
        (16, 2, 12, 12),
        {"conv": (1, 6), "left": (), "right": (2,)},
        {"relu": (1, 6), "relu#3": (2,)},
    ),
}


def dead_model(name, dtype=torch.float32):
    """Return a model, inputs, and the units that are dead on them, by the name of their ReLU."""
    build, shape, killed, dead = CASES[name]
    torch.manual_seed(1)
    model = build().to(dtype)
    for layer, units in killed.items():
        kill(model.get_submodule(layer), *units)
    return model, torch.randn(shape, dtype=dtype), dead
