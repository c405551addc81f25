"""``check`` reports on a model before its training and leaves everything unchanged."""

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


def test_it_reports_the_layers_and_their_inactive_units():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    report = relumine.check(model, torch.randn(32, 6))
    (layer,) = report.layers
    assert (layer.name, layer.units, layer.inactive, layer.examples, layer.split) == ("1", 9, 4, 32, "linear")
    assert "4 of 9 units inactive on 32 examples" in str(report)


def test_it_names_unused_relus_activations_that_cannot_die_and_missing_statistics():
    report = relumine.check(Net(), {"x": torch.randn(8, 6), "scale": 2.0})
    assert [(layer.activation, layer.can_die) for layer in report.layers] == [("relu", True), ("gelu", False)]
    assert report.unused == ("spare",)
    assert report.layers[0].split == "batchnorm"
    assert "normalised" in report.layers[0].missing[0]


def test_model_buffers_modes_and_generators_stay_unchanged():
    model = Net().eval()
    initial_state = copy.deepcopy(model.state_dict())
    rng_state = torch.get_rng_state()
    relumine.check(model, torch.randn(8, 6, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert all(torch.equal(value, initial_state[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not nn.modules.module._global_forward_hooks


def test_an_error_of_the_forward_is_raised_and_no_hook_remains():
    with pytest.raises(RuntimeError, match="shapes"):
        relumine.check(Net(), torch.randn(8, 5))
    assert not nn.modules.module._global_forward_hooks
    assert torch.overrides._get_current_function_mode() is None
