"""Oversized layers are reinitialized as a whole, and parameter groups that are far too fast are slowed down alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from relumine.remedies._initialization import redraw_oversized_
from relumine.remedies._on_alert.handler import apply
from tests.helpers.remedy_alerts import LOWER, alert

SLOW = {"evidence": {"learning_rate": {"now": 8.0, "before": 8.0, "changed_at_step": None}}}


def net(scale, *, norm=False):
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(32)] if norm else []
    model = nn.Sequential(nn.Linear(16, 32), *middle, nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[0].weight.mul_(scale)
        model[0].bias.fill_(3.0)
    return model, torch.randn(64, 16)


def test_an_oversized_layer_is_reinitialized_with_its_moments_and_the_others_stay():
    model, x = net(40.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimizer.step()
    head = model[2].weight.clone()
    result = redraw_oversized_(model, x, optimizer)
    assert float(model[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 16), rel=0.1)
    assert not model[0].bias.any()
    assert not optimizer.state[model[0].weight]["exp_avg"].any()
    assert torch.equal(model[2].weight, head)
    assert result.text == "reinitialized 1 oversized layer: 0"


@pytest.mark.parametrize(("scale", "norm"), [(1.0, False), (40.0, True)])
def test_layers_of_usual_size_or_behind_a_normalization_stay(scale, norm):
    model, x = net(scale, norm=norm)
    initial_weight = model[0].weight.clone()
    assert not redraw_oversized_(model, x).changes
    assert torch.equal(model[0].weight, initial_weight)


def test_apply_restores_the_start_of_a_training_with_an_oversized_layer():
    model, x = net(40.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    head = model[2].weight.clone()
    handler = apply(model, optimizer, checkpoint_every=5)
    for _ in range(7):
        model(x).square().mean().backward()
        optimizer.step()
    result = handler(alert(("revive_", None), cause="bad_initialization"))
    assert result.text.endswith("restored everything else from the start")
    assert torch.equal(model[2].weight, head)


@pytest.mark.parametrize(("kind", "treated"), [("born_dead", {"1", "3"}), ("dying", {"1"})])
def test_a_born_dead_layer_is_treated_together_with_all_others(kind, treated):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-60.0)
        model[2].bias.fill_(-60.0)
    handler = apply(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model(torch.randn(64, 4))
    assert handler(alert(("reset_bias_", 0.0), layer="1", kind=kind)).units.keys() == treated


def test_a_group_with_a_far_higher_learning_rate_is_lowered_alone():
    model, x = net(1.0)
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    biases = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.SGD([{"params": weights, "lr": 0.1}, {"params": biases, "lr": 8.0}])
    handler = apply(model, optimizer)
    model(x)
    handler(alert(("lower_learning_rate", 0.8), layer="1", **SLOW))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1])


def test_a_learning_rate_that_jumped_is_lowered_in_all_groups_alike():
    model, x = net(1.0)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD([{"params": parameters[:2], "lr": 0.3}, {"params": parameters[2:], "lr": 0.03}])
    handler = apply(model, optimizer)
    model(x)
    handler(alert(("lower_learning_rate", 0.05), layer="1", **LOWER))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])


def test_all_groups_are_lowered_if_the_model_cannot_be_run():
    model, _ = net(1.0)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD([{"params": parameters[:2], "lr": 8.0}, {"params": parameters[2:], "lr": 0.1}])
    handler = apply(model, optimizer)  # no forward was recorded
    handler(alert(("lower_learning_rate", 0.8), layer="1", **SLOW))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.8, 0.01])
