"""Active positions are counted exactly, however many positions an example has, and whenever that changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine._export import upload_builder


def z_of(layer, x):
    """Return the pre-activation with the units last."""
    z = layer(x).detach()
    return z.movedim(1, -1) if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) else z


class Net(nn.Module):
    """A layer and its ReLU; remembers its pre-activations (…, units). ``calls``: how often a forward uses them."""

    def __init__(self, layer, calls=1):
        super().__init__()
        self.layer = layer
        self.calls = calls
        self.seen = []

    def forward(self, x):
        total = 0.0
        for _ in range(self.calls):
            self.seen.append(z_of(self.layer, x))
            total = total + functional.relu(self.layer(x)).sum()
        return total


def check(net, batches_by_step, memory, after_step=lambda step: None):
    """Train, and compare the active positions and examples of each step with the pre-activations of its forwards."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    expected = []
    with relumine.watch(net, optimizer, every=1, strict=True) as monitor:
        for step, batches in enumerate(batches_by_step):
            net.seen.clear()
            for x in batches:
                net(x).backward()
            optimizer.step()
            optimizer.zero_grad()
            monitor.flush()
            expected.append(sum((z > 0).reshape(-1, z.shape[-1]).sum(0) for z in net.seen).tolist())
            after_step(step)
    records = memory.records("relu")
    assert len(records) == len(batches_by_step)
    for record, positions in zip(records, expected, strict=True):
        arrays = record.arrays()
        assert arrays.get("active_positions", arrays["active"]).tolist() == positions


def images(size, count=7):
    return torch.randn(count, 3, size, size)


LAYERS = {
    "an image of one pixel": (lambda: nn.Conv2d(3, 5, 3), [[images(3)], [images(3)], [images(3)]]),
    "images of one pixel and of several in turn": (
        lambda: nn.Conv2d(3, 5, 3),
        [[images(5)], [images(3)], [images(4)], [images(3)]],
    ),
    "channels last": (
        lambda: nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last),
        [[images(size).to(memory_format=torch.channels_last)] for size in (3, 5, 3)],
    ),
    "a signal of one position": (lambda: nn.Conv1d(3, 5, 3), [[torch.randn(7, 3, length)] for length in (3, 3, 6, 3)]),
    "a volume of one position": (lambda: nn.Conv3d(3, 5, 2), [[torch.randn(7, 3, 2, 2, 2)]] * 3),
    "a sequence of one token": (lambda: nn.Linear(3, 5), [[torch.randn(7, length, 3)] for length in (1, 1, 4, 1)]),
    "sequences, then rows": (
        lambda: nn.Linear(3, 5),
        [[torch.randn(7, 4, 3)], [torch.randn(7, 3)], [torch.randn(7, 3)]],
    ),
    "micro-batches of one pixel and of several": (lambda: nn.Conv2d(3, 5, 3), [[images(3), images(5, 4)]] * 3),
    "micro-batches of sequences and of rows": (
        lambda: nn.Linear(3, 5),
        [[torch.randn(7, 4, 3), torch.randn(7, 3)], [torch.randn(7, 3), torch.randn(7, 4, 3)]] * 2,
    ),
    "more elements than are reduced at once": (lambda: nn.Linear(3, 600), [[torch.randn(1000, 1, 3)]] * 3),
    "half precision": (lambda: nn.Linear(3, 5).bfloat16(), [[torch.randn(7, 1, 3).bfloat16()]] * 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_active_positions_are_exact_whatever_the_number_of_positions(name, memory):
    build, batches = LAYERS[name]
    check(Net(build()), batches, memory)


@pytest.mark.parametrize("shape", [(7, 3), (7, 4, 3), (7, 1, 3)])
def test_active_positions_are_exact_when_a_layer_comes_to_be_called_several_times(shape, memory):
    net = Net(nn.Linear(3, 5))

    def call_more_often(step):
        net.calls = 1 + step

    check(net, [[torch.randn(shape)] for _ in range(5)], memory, call_more_often)


def test_active_positions_of_a_masked_tap_are_the_rows_under_the_mask(memory):
    model = nn.Linear(6, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    expected = []
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(4):
            z = model(torch.randn(4, 5, 6))
            mask = torch.rand(4, 5) > 0.4
            monitor.tap("jump", z, mask=mask)
            z.sum().backward()
            optimizer.step()
            monitor.flush()
            expected.append((z.detach()[mask] > 0).sum(0).tolist())
    records = memory.records("jump")
    assert [record.arrays()["active_positions"].tolist() for record in records] == expected


def test_merged_steps_add_their_active_positions_when_a_layer_comes_to_be_called_several_times(memory, monkeypatch):
    monkeypatch.setattr(upload_builder, "FREE_BYTES", 0)
    monkeypatch.setattr(upload_builder, "BYTES_PER_S", 0)
    net = Net(nn.Linear(3, 5))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with relumine.watch(net, optimizer, every=1, strict=True):
        for step in range(6):
            net.calls = 1 if step < 4 else 3
            net(torch.randn(7, 3)).backward()
            optimizer.step()
    records = memory.records("relu")
    assert max(record.sampled_steps for record in records) > 2
    counted = torch.zeros(5, dtype=torch.int64)
    for record in records:
        arrays = record.arrays()
        counted += torch.tensor(arrays.get("active_positions", arrays["active"]).tolist()).long()
    assert counted.tolist() == sum((z > 0).sum(0) for z in net.seen).tolist()
