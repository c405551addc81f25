"""The probability of being born dead, against values calculated by hand and against nets that are really built."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from relumine._analysis import born_dead
from relumine._analysis.born_dead import StackLayer
from relumine._analysis.layer_chains import LayerChainMode
from relumine._analysis.risk import initialization_of, stack_layer

RAYS = torch.tensor([[1.0], [-1.0]])


def stack(width, depth, initializer=born_dead.he_normal):
    return [StackLayer((width, 1), initializer), *[StackLayer((width, width), initializer)] * (depth - 1)]


def test_the_upper_bound_is_that_of_the_paper():
    assert born_dead.upper_bound((1,)) == pytest.approx(1 / 2)
    assert born_dead.upper_bound((2, 3)) == pytest.approx(1 - 3 / 4 * 7 / 8)
    assert born_dead.upper_bound((5,) * 49) == pytest.approx(1 - (31 / 32) ** 49)
    assert born_dead.upper_bound((60,) * 4) == pytest.approx(4 * 2.0**-60)  # a tiny bound loses no digit
    assert born_dead.upper_bound((4096,)) == 0.0


def test_the_bounds_for_one_input_feature_enclose_published_values():
    assert born_dead.ray_bounds((2,) * 9) == pytest.approx((1 - 2 * (3 / 4) ** 9, 1 - (3 / 4) ** 8))
    for width, depth, published in ((2, 9, 0.8798), (3, 9, 0.5772), (5, 49, 0.7511), (6, 49, 0.4854)):
        low, high = born_dead.ray_bounds((width,) * depth)
        assert low <= published <= high <= born_dead.upper_bound((width,) * depth)


@pytest.mark.parametrize(("layers", "width"), [(1, 5), (9, 8), (49, 10)])
def test_the_proposed_width_is_the_smallest_safe_one(layers, width):
    assert born_dead.width_for(layers, 0.05) == width
    assert born_dead.upper_bound((width,) * layers) <= 0.05 < born_dead.upper_bound((width - 1,) * layers)


@pytest.mark.parametrize(("width", "depth", "exact"), [(2, 2, 0.15625), (3, 2, 11 / 256), (1, 3, 0.75), (1, 5, 0.9375)])
def test_the_estimate_agrees_with_the_closed_forms(width, depth, exact):
    estimate = born_dead.estimate(stack(width, depth), RAYS, draws=20_000, seed=1)
    assert abs(estimate.fraction() - exact) <= 4 * estimate.standard_error()


def test_the_estimate_agrees_with_the_published_value_for_two_units_per_layer():
    estimate = born_dead.estimate(stack(2, 49), RAYS, draws=20_000, seed=2)
    assert abs(estimate.fraction(9) - 0.8798) <= 4 * estimate.standard_error(9)
    assert estimate.fraction(2) < estimate.fraction(9) < estimate.fraction()
    assert estimate.fraction() == sum(estimate.died_at) / estimate.draws


def test_a_seed_gives_the_same_nets_and_another_block_size_gives_others_of_the_same_distribution(monkeypatch):
    estimate = born_dead.estimate(stack(2, 5), RAYS, draws=2_000, seed=3)
    assert born_dead.estimate(stack(2, 5), RAYS, draws=2_000, seed=3) == estimate
    monkeypatch.setattr(born_dead, "BLOCK_SIZE", 64)
    blockwise = born_dead.estimate(stack(2, 5), RAYS, draws=2_000, seed=3)
    assert abs(blockwise.fraction() - estimate.fraction()) <= 4 * math.sqrt(2) * estimate.standard_error()


def test_an_estimate_of_zero_has_a_standard_error():
    estimate = born_dead.estimate(stack(30, 2), RAYS, draws=1_000)
    assert estimate.fraction() == 0.0
    assert 0.0 < estimate.standard_error() < 0.01


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_users_default_type_changes_nothing(default):
    previous_default = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        estimate = born_dead.estimate(stack(2, 5, born_dead.torch_default), RAYS.float(), draws=500)
    finally:
        torch.set_default_dtype(previous_default)
    assert estimate == born_dead.estimate(stack(2, 5, born_dead.torch_default), RAYS, draws=500)


def chain_of(model, x):
    with LayerChainMode() as mode:
        model(x)
    return mode.layers


def convolutional():
    body = [nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.2)]
    return nn.Sequential(*body, nn.Conv2d(2, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2), nn.ReLU())


@pytest.mark.parametrize(
    ("build", "shape"), [(convolutional, (4, 1, 16, 16)), (lambda: nn.Sequential(*dense(3, 4)), (8, 3))]
)
def test_the_estimate_agrees_with_many_models_that_are_really_built(build, shape):
    torch.manual_seed(0)
    x = torch.randn(*shape)
    chain = chain_of(build(), x)
    assert [layer.previous for layer in chain] == [None, *chain[:-1]]
    initialization = initialization_of(chain)
    layers = [stack_layer(layer, initialization) for layer in chain]
    estimate = born_dead.estimate(layers, chain[0].sample_inputs(64), draws=4_000)
    dead = sum(is_dead(build().eval(), x) for _ in range(600))
    error = math.hypot(estimate.standard_error(), math.sqrt(dead * (600 - dead) / 600**3))
    assert 60 < dead < 540
    assert abs(estimate.fraction() - dead / 600) <= 4 * error


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
