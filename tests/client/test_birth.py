"""The mathematics of being born dead, against values worked out by hand and against nets that are really built."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from relumine import _birth
from relumine._birth import Layer
from relumine._chains import Follower
from relumine._risk import _layer, initialization_of

RAYS = torch.tensor([[1.0], [-1.0]])


def stack(width, depth, draw=_birth.he):
    return [Layer((width, 1), draw), *[Layer((width, width), draw)] * (depth - 1)]


def test_the_bound_is_that_of_the_paper():
    assert _birth.upper_bound((1,)) == pytest.approx(1 / 2)
    assert _birth.upper_bound((2, 3)) == pytest.approx(1 - 3 / 4 * 7 / 8)
    assert _birth.upper_bound((5,) * 49) == pytest.approx(1 - (31 / 32) ** 49)
    assert _birth.upper_bound((60,) * 4) == pytest.approx(4 * 2.0**-60)  # no digit is lost where it is tiny
    assert _birth.upper_bound((4096,)) == 0.0


def test_the_bounds_for_one_input_feature_enclose_what_is_known():
    assert _birth.ray_bounds((2,) * 9) == pytest.approx((1 - 2 * (3 / 4) ** 9, 1 - (3 / 4) ** 8))
    for width, depth, known in ((2, 9, 0.8798), (3, 9, 0.5772), (5, 49, 0.7511), (6, 49, 0.4854)):
        low, high = _birth.ray_bounds((width,) * depth)
        assert low <= known <= high <= _birth.upper_bound((width,) * depth)


@pytest.mark.parametrize(("layers", "width"), [(1, 5), (9, 8), (49, 10)])
def test_the_width_that_is_proposed_is_the_smallest_that_is_safe(layers, width):
    assert _birth.width_for(layers, 0.05) == width
    assert _birth.upper_bound((width,) * layers) <= 0.05 < _birth.upper_bound((width - 1,) * layers)


@pytest.mark.parametrize(("width", "depth", "known"), [(2, 2, 0.15625), (3, 2, 11 / 256), (1, 3, 0.75), (1, 5, 0.9375)])
def test_the_estimate_meets_the_closed_forms(width, depth, known):
    found = _birth.estimate(stack(width, depth), RAYS, draws=20_000, seed=1)
    assert abs(found.share() - known) <= 4 * found.standard_error()


def test_the_estimate_meets_the_known_share_of_ten_layers_of_two():
    found = _birth.estimate(stack(2, 49), RAYS, draws=20_000, seed=2)
    assert abs(found.share(9) - 0.8798) <= 4 * found.standard_error(9)
    assert found.share(2) < found.share(9) < found.share() == sum(found.died_at) / found.draws


def test_a_seed_gives_the_same_nets_and_smaller_portions_others_of_the_same_kind(monkeypatch):
    whole = _birth.estimate(stack(2, 5), RAYS, draws=2_000, seed=3)
    assert _birth.estimate(stack(2, 5), RAYS, draws=2_000, seed=3) == whole
    monkeypatch.setattr(_birth, "BLOCK", 64)
    parts = _birth.estimate(stack(2, 5), RAYS, draws=2_000, seed=3)
    assert abs(parts.share() - whole.share()) <= 4 * math.sqrt(2) * whole.standard_error()


def test_no_dead_net_among_many_is_no_certainty():
    found = _birth.estimate(stack(30, 2), RAYS, draws=1_000)
    assert found.share() == 0.0
    assert 0.0 < found.standard_error() < 0.01


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_default_types_of_the_user_change_nothing(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = _birth.estimate(stack(2, 5, _birth.pytorch), RAYS.float(), draws=500)
    finally:
        torch.set_default_dtype(before)
    assert found == _birth.estimate(stack(2, 5, _birth.pytorch), RAYS, draws=500)


def followed(model, x):
    with Follower() as follower:
        model(x)
    return follower.links


def convolutional():
    body = [nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.2)]
    return nn.Sequential(*body, nn.Conv2d(2, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2), nn.ReLU())


@pytest.mark.parametrize(
    ("build", "shape"), [(convolutional, (4, 1, 16, 16)), (lambda: nn.Sequential(*dense(3, 4)), (8, 3))]
)
def test_the_estimate_is_that_of_models_built_again_and_again(build, shape):
    torch.manual_seed(0)
    x = torch.randn(*shape)
    links = followed(build(), x)
    assert all(link.before is before for link, before in zip(links, [None, *links[:-1]], strict=True))
    name = initialization_of(links)
    found = _birth.estimate([_layer(link, name) for link in links], links[0].points(64), draws=4_000)
    dead = sum(is_dead(build().eval(), x) for _ in range(600))
    error = math.hypot(found.standard_error(), math.sqrt(dead * (600 - dead) / 600**3))
    assert 60 < dead < 540
    assert abs(found.share() - dead / 600) <= 4 * error


def dense(width, depth):
    layers = [(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)]
    return [module for pair in layers for module in pair]


@torch.no_grad()
def is_dead(model, x):
    for module in model:
        x = module(x)
        if isinstance(module, nn.ReLU) and not x.any():
            return True
    return False
