"""What began wrong as a whole is drawn anew as a whole, and groups that race are slowed alone."""

from __future__ import annotations

import math

import pytest
import torch
from proposing import LOWER, alert
from torch import nn

from relumine.remedies import apply
from relumine.remedies._oversized import redraw_oversized_

SLOW = {"evidence": {"learning_rate": {"now": 8.0, "before": 8.0, "changed_at_step": None}}}


def net(times, *, norm=False):
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(32)] if norm else []
    model = nn.Sequential(nn.Linear(16, 32), *middle, nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[0].weight.mul_(times)
        model[0].bias.fill_(3.0)
    return model, torch.randn(64, 16)


def test_a_layer_far_too_large_is_drawn_anew_with_its_moments_and_the_others_stay():
    model, x = net(40.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimizer.step()
    head = model[2].weight.clone()
    done = redraw_oversized_(model, x, optimizer)
    assert float(model[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 16), rel=0.1)
    assert not model[0].bias.any()
    assert not optimizer.state[model[0].weight]["exp_avg"].any()
    assert torch.equal(model[2].weight, head)
    assert done.text == "drew all weights of 1 layer anew: 0"


@pytest.mark.parametrize(("times", "norm"), [(1.0, False), (40.0, True)])
def test_usual_ones_and_those_behind_a_normalization_stay(times, norm):
    model, x = net(times, norm=norm)
    before = model[0].weight.clone()
    assert not redraw_oversized_(model, x).changes
    assert torch.equal(model[0].weight, before)


def test_apply_starts_such_a_training_over():
    model, x = net(40.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    head = model[2].weight.clone()
    treat = apply(model, optimizer, keep_every=5)
    for _ in range(7):
        model(x).square().mean().backward()
        optimizer.step()
    done = treat(alert(("reinitialize", None), cause="bad_initialization"))
    assert done.text.endswith("all else is as it was at the start")
    assert torch.equal(model[2].weight, head)


@pytest.mark.parametrize(("kind", "reset"), [("born_dead", {"1", "3"}), ("dying", {"1"})])
def test_a_birth_without_units_is_answered_in_all_layers(kind, reset):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-60.0)
        model[2].bias.fill_(-60.0)
    treat = apply(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model(torch.randn(64, 4))
    assert treat(alert(("reset_bias", 0.0), layer="1", kind=kind)).units.keys() == reset


def test_a_group_that_goes_far_faster_than_the_others_is_slowed_alone():
    model, x = net(1.0)
    weights, biases = ([one for one in model.parameters() if (one.dim() > 1) is wanted] for wanted in (True, False))
    optimizer = torch.optim.SGD([{"params": weights, "lr": 0.1}, {"params": biases, "lr": 8.0}])
    treat = apply(model, optimizer)
    model(x)
    treat(alert(("lower_learning_rate", 0.8), layer="1", **SLOW))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1])


def test_a_rate_that_jumped_is_lowered_in_all_groups_alike():
    model, x = net(1.0)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD([{"params": parameters[:2], "lr": 0.3}, {"params": parameters[2:], "lr": 0.03}])
    treat = apply(model, optimizer)
    model(x)
    treat(alert(("lower_learning_rate", 0.05), layer="1", **LOWER))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])


def test_where_the_layer_cannot_be_looked_at_all_groups_are_lowered():
    model, _ = net(1.0)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD([{"params": parameters[:2], "lr": 8.0}, {"params": parameters[2:], "lr": 0.1}])
    treat = apply(model, optimizer)  # which saw no forward
    treat(alert(("lower_learning_rate", 0.8), layer="1", **SLOW))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.8, 0.01])
