"""Every ReLU is observed, however it is spelled and wherever it is called; its counts are exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


class Net(nn.Module):
    """A Linear and an activation, which may be a function or a module."""

    def __init__(self, act):
        super().__init__()
        self.fc = nn.Linear(6, 9)
        self.act = act

    def forward(self, x):
        return self.act(self.fc(x))


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
        rows = monitor.coverage()
    return rows, {name: memory.records(name) for name in rows}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_observed_with_exact_counts_and_its_split(name, memory):
    torch.manual_seed(1)
    model = Net(SPELLINGS[name])
    x = torch.randn(40, 6)
    rows, records = one_step(model, x, memory)
    ((layer, row),) = rows.items()
    ((record,),) = records.values()
    z = model.fc(x).detach().double()
    arrays = record.arrays()
    assert (row["units"], row["split"], row["producer"], row["can_die"]) == (9, "linear", "fc", True)
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
def test_activations_that_cannot_die_are_listed_and_send_no_records(act, memory):
    rows, records = one_step(Net(act), torch.randn(8, 6), memory)
    assert [row["can_die"] for row in rows.values()] == [False]
    assert list(records.values()) == [[]]


NO_RELU = [torch.tanh, torch.sigmoid, lambda z: z.clamp(min=-1), lambda z: z.clamp(0.5), nn.Hardtanh()]


@pytest.mark.parametrize("act", NO_RELU)
def test_other_functions_are_not_mistaken_for_a_relu(act, memory):
    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


def test_submodules_called_without_their_root_are_observed(memory):
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


def test_include_and_exclude_filter_layers_by_name(memory):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for options, names in (({"include": ["3"]}, {"3"}), ({"exclude": ["3"]}, {"1"})):
        with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
            model(torch.randn(4, 4)).sum().backward()
            optimizer.step()
            assert set(monitor.coverage()) == names
