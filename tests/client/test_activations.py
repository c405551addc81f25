"""Every ReLU is seen, however it is spelled and wherever it acts; its counts are exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


class Net(nn.Module):
    """One Linear or convolution, an activation given as a function, and what comes behind."""

    def __init__(self, act, producer=None, after=None):
        super().__init__()
        self.fc, self.act, self.after = producer or nn.Linear(6, 9), act, after or nn.Identity()

    def forward(self, x):
        return self.after(self.act(self.fc(x)))


SPELLINGS = {
    "F.relu": functional.relu,
    "F.relu in place": lambda z: functional.relu(z, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lambda z: z.relu_(),
    "Tensor.clamp": lambda z: z.clamp(min=0),
    "torch.clamp": lambda z: torch.clamp(z, 0),
    "Tensor.clamp_": lambda z: z.clamp_(min=0.0),
    "Tensor.clamp_min": lambda z: z.clamp_min(0),
    "F.threshold": lambda z: functional.threshold(z, 0.0, 0.0),
    "F.relu6": functional.relu6,
    "squared": lambda z: functional.relu(z).square(),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "nn.ReLU6": nn.ReLU6(),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
}


def one_step(model, x, memory):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model(x).square().mean().backward()
        optimizer.step()
        found = monitor.coverage()
    return found, {name: memory.records(name) for name in found}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_seen_with_exact_counts_and_its_split(name, memory):
    torch.manual_seed(1)
    model = Net(SPELLINGS[name])
    x = torch.randn(40, 6)
    found, records = one_step(model, x, memory)
    ((layer, one),) = found.items()
    ((record,),) = records.values()
    z = model.fc(x).detach().double()
    arrays = record.arrays()
    assert (one["units"], one["split"], one["producer"], one["can_die"]) == (9, "linear", "fc", True)
    assert layer in ("act", "relu", "relu6")
    assert arrays["active"].tolist() == (z > 0).sum(0).tolist()
    assert arrays["mean"] == pytest.approx(z.mean(0).numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "act",
    [
        nn.LeakyReLU(),
        nn.PReLU(),
        nn.ELU(),
        nn.GELU(),
        nn.SiLU(),
        nn.SELU(),
        nn.Mish(),
        functional.gelu,
        functional.silu,
    ],
)
def test_what_cannot_die_is_listed_and_sends_nothing(act, memory):
    found, records = one_step(Net(act), torch.randn(8, 6), memory)
    assert [one["can_die"] for one in found.values()] == [False]
    assert list(records.values()) == [[]]


NO_RELU = [torch.tanh, torch.sigmoid, lambda z: z.clamp(min=-1), lambda z: z.clamp(0.5), nn.Hardtanh()]


@pytest.mark.parametrize("act", NO_RELU)
def test_what_is_no_relu_is_not_taken_for_one(act, memory):
    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


def test_submodules_called_without_their_root_are_seen(memory):
    model = nn.ModuleDict({"encoder": Net(functional.relu), "decoder": nn.Sequential(nn.Linear(9, 6), nn.ReLU())})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model["decoder"](model["encoder"](torch.randn(8, 6))).sum().backward()
        optimizer.step()
        assert set(monitor.coverage()) == {"encoder.relu", "decoder.1"}


def test_a_forward_that_raises_leaves_no_mode_behind(mlp, memory):
    model = nn.Sequential(mlp(), nn.Linear(3, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            with pytest.raises(RuntimeError, match="shapes"):
                model(torch.randn(4, 6))
        assert torch.overrides._get_current_function_mode() is None


def test_include_and_exclude_choose_by_name(memory):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for options, names in (({"include": ["3"]}, {"3"}), ({"exclude": ["3"]}, {"1"})):
        with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
            model(torch.randn(4, 4)).sum().backward()
            optimizer.step()
            assert set(monitor.coverage()) == names
