"""A look before training: it reports, and leaves everything as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b, self.spare = nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 4), nn.ReLU()
        self.drop = nn.Dropout(0.5)

    def forward(self, x, scale=1.0):
        return functional.gelu(self.b(self.drop(torch.relu(self.norm(self.a(x))))) * scale)


def test_it_says_what_is_seen_what_is_not_and_which_units_are_silent():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    report = relumine.check(model, torch.randn(32, 6))
    (layer,) = report.layers
    assert (layer.name, layer.units, layer.silent, layer.examples, layer.split) == ("1", 9, 4, 32, "linear")
    assert "4 of 9 units silent on 32 examples" in str(report)


def test_it_names_what_is_never_used_what_cannot_die_and_what_is_missing():
    report = relumine.check(Net(), {"x": torch.randn(8, 6), "scale": 2.0})
    assert [(layer.activation, layer.can_die) for layer in report.layers] == [("relu", True), ("gelu", False)]
    assert report.unused == ("spare",)
    assert report.layers[0].split == "batchnorm"
    assert "normalised" in report.layers[0].missing[0]


def test_it_leaves_model_buffers_modes_and_generators_as_they_were():
    model = Net().eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    relumine.check(model, torch.randn(8, 6, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not nn.modules.module._global_forward_hooks


def test_what_the_forward_raises_comes_out_and_nothing_stays_behind():
    with pytest.raises(RuntimeError, match="shapes"):
        relumine.check(Net(), torch.randn(8, 5))
    assert not nn.modules.module._global_forward_hooks
    assert torch.overrides._get_current_function_mode() is None
