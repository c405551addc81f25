"""The split of a change of the mean is exact for every layer whose output is linear in its input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import relumine

LAYERS = {
    "linear": (lambda: nn.Linear(12, 20), (16, 12)),
    "linear without bias": (lambda: nn.Linear(12, 20, bias=False), (16, 12)),
    "linear on sequences": (lambda: nn.Linear(12, 20), (6, 9, 12)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (8, 4, 17)),
    "conv2d strided and padded": (lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1), (8, 4, 9, 9)),
    "conv2d grouped": (lambda: nn.Conv2d(4, 8, 3, groups=4), (8, 4, 9, 9)),
    "conv2d reflecting": (lambda: nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), (8, 4, 9, 9)),
    "conv2d dilated without bias": (lambda: nn.Conv2d(4, 8, 3, dilation=2, bias=False), (8, 4, 9, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 3, padding=1), (4, 2, 5, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weight_input_and_bias_add_up_to_the_change_of_the_mean(name, memory):
    build, shape = LAYERS[name]
    torch.manual_seed(1)
    model = nn.Sequential(build(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    model(torch.randn(*shape))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for step in range(12):
            model(torch.randn(*shape) + 0.1 * step).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert monitor.coverage()["1"]["split"] == "linear"
    records = memory.records("1")
    assert len(records) == 12
    for previous, current in zip(records, records[1:], strict=False):
        columns = current.arrays()
        change = columns["mean"].astype(np.float64) - previous.arrays()["mean"]
        total = columns["shift_weight"].astype(np.float64) + columns["shift_input"] + columns["shift_bias"]
        scale = max(np.abs(change).max(), np.abs(columns["mean"]).max())
        assert current.since_step == previous.step
        assert np.abs(total - change).max() <= 1e-5 * scale


@pytest.mark.parametrize("name", ["linear", "conv2d grouped"])
def test_a_change_of_the_bias_alone_is_attributed_to_the_bias_alone(name, memory):
    build, shape = LAYERS[name]
    torch.manual_seed(1)
    model = nn.Sequential(build(), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(*shape)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(2):
            (model(x).sum() * 0).backward()
            optimizer.step()
            with torch.no_grad():
                model[0].bias += 0.5
    last = memory.records("1")[1].arrays()
    assert last["shift_bias"] == pytest.approx(0.5, abs=1e-6)
    assert last["shift_weight"] == pytest.approx(0.0, abs=1e-5)
    assert last["shift_input"] == pytest.approx(0.0, abs=1e-5)


def test_the_update_shift_is_the_change_of_the_mean_by_the_update(memory):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(40, 5)
    with relumine.watch(model, optimizer, every=1, strict=True):
        mean = model[0](x).mean(0).detach()
        model(x).square().mean().backward()
        optimizer.step()
        updated_mean = model[0](x).mean(0).detach()
    shift = memory.records("1")[0].arrays()["update_shift"].astype(float)
    assert shift == pytest.approx((updated_mean - mean).numpy(), abs=2e-4)


def test_layers_behind_batch_normalization_or_a_sum_report_that_there_is_no_exact_split(memory):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3)
            self.act = nn.ReLU()
            self.join = nn.ReLU()

        def forward(self, x):
            return self.join(self.conv(self.act(self.norm(x))) + x)

    model = Block()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(2):
            model(torch.randn(4, 3, 6, 6)).sum().backward()
            optimizer.step()
        rows = monitor.coverage()
    assert (rows["act"]["split"], rows["act"]["producer"]) == ("batchnorm", "norm")
    assert (rows["join"]["split"], rows["join"]["producer"]) == ("residual", None)
    assert rows["join"]["unit_kind"] == "channels"
    assert "bias" in memory.records("act")[1].arrays()
    assert "shift_weight" not in memory.records("join")[1].arrays()
