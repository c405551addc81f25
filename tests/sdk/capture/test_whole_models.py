"""Whole models: every activation is observed, and the training is bit-identical."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from tests.helpers.relu_reference import Executions, compare


class Block(nn.Module):
    """Two convolutions with BatchNorm; the in-place activation is shared with the block's end."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.1)
        self.shortcut = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        y = self.dropout(self.act(self.norm1(self.conv1(x))))
        return self.act(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet():
    """A ResNet-18, a sixteenth as wide as the original."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    widths = [(4, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)]
    blocks = [Block(*width) for width in widths]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)), (4, 3, 16, 16)


def cnn():
    body = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(216, 2)), (4, 3, 8, 8)


def transformer():
    layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (4, 7, 16)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 12), nn.Linear(12, 10), nn.Linear(10, 2)

    def forward(self, x):
        x = functional.dropout(functional.relu(self.a(x)), 0.2, self.training)
        return self.c(functional.relu(self.b(x)))


MODELS = {"mlp": lambda: (Mlp(), (32, 6)), "cnn": cnn, "resnet": resnet, "transformer": transformer}
SPLITS = {
    "mlp": ["linear", "linear"],
    "cnn": ["batchnorm"],
    "resnet": ["batchnorm", *["batchnorm", "residual"] * 8],
    "transformer": ["linear"] * 3,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_activation_of_a_whole_model_is_observed_with_exact_counts(name, memory):
    torch.manual_seed(1)
    model, shape = MODELS[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor, Executions() as executions:
        model(torch.randn(*shape)).square().mean().backward()
        optimizer.step()
        rows = monitor.coverage()
    assert [row["split"] for row in rows.values()] == SPLITS[name]
    assert len(executions.preactivations) == len(rows)
    compare(executions.preactivations, rows, memory)


@pytest.mark.parametrize("options", [{"every": 1}, {}], ids=["every step", "default"])
@pytest.mark.parametrize("name", MODELS)
def test_training_is_bit_identical_with_and_without_the_sdk(name, options, memory):
    def run(**options):
        torch.manual_seed(4)
        model, shape = MODELS[name]()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses = []
        with relumine.watch(model, optimizer, strict=True, **options):
            for _ in range(25):
                loss = model(torch.randn(*shape)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses, [parameter.detach().clone() for parameter in model.parameters()]

    losses, parameters = run(**options)
    bare_losses, bare_parameters = run(mode="disabled")
    assert losses == bare_losses
    assert all(torch.equal(a, b) for a, b in zip(parameters, bare_parameters, strict=True))
    assert len(memory.uploads) > 0
