"""Risk of a chain of plain layers: the probability that a net of its widths, depth and initialization is born dead.

The bound is always given; an estimate where the bound is large enough and the work is bounded. The model is unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from relumine._analysis import born_dead
from relumine._analysis.born_dead import Estimate, Initializer, StackLayer
from relumine._analysis.layer_chains import ChainLayer

NEGLIGIBLE = 1e-4  # a bound below it is not worth an estimate
MAX_DRAWS = 10_000
MIN_DRAWS = 500  # a standard error of at most 2.3 percentage points
MAX_POINTS = 64  # inputs to run nets on
MIN_POINTS = 16  # a net that is inactive on fewer may well be active on others
BUDGET = 2 * 10**9  # multiplications per check: two or three seconds of one slow core

ZERO_BIAS = "normal weights, zero biases"
TORCH_DEFAULT = "PyTorch's default"
EMPIRICAL = "each layer's own spread"


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of one chain; probabilities are in [0, 1].

    ``fraction`` is how many of ``draws`` nets with its widths and depth, drawn with ``initialization``, were born dead
    on ``inputs`` examples of the chain's input; None where the bound is negligible or the estimate would take too long.
    ``upper_bound`` holds for every symmetric initialization, ``lower_bound`` is given where one is known.
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    initialization: str
    upper_bound: float
    lower_bound: float | None
    fraction: float | None = None
    standard_error: float | None = None
    draws: int = 0
    inputs: int = 0


def risks_of(chains: Sequence[Sequence[ChainLayer]], names: Mapping[int, str]) -> tuple[Risk, ...]:
    """Return the risk of each chain; ``names`` are the names of the activations, by the id of their layer's weight."""
    to_estimate = sum(born_dead.upper_bound(widths_of(chain)) >= NEGLIGIBLE for chain in chains)
    budget = BUDGET // max(1, to_estimate)
    return tuple(_risk(chain, [names[id(layer.weight)] for layer in chain], budget) for chain in chains)


def widths_of(chain: Sequence[ChainLayer]) -> tuple[int, ...]:
    """Return the number of units of each layer."""
    return tuple(layer.units for layer in chain)


def _risk(chain: Sequence[ChainLayer], names: Sequence[str], budget: int) -> Risk:
    widths = widths_of(chain)
    initialization = initialization_of(chain)
    upper = born_dead.upper_bound(widths)
    lower = None
    points = chain[0].sample_inputs(MAX_POINTS if upper >= NEGLIGIBLE else 0)
    if initialization == ZERO_BIAS and _are_rays(points):
        lower, ray_upper = born_dead.ray_bounds(widths)
        upper = min(upper, ray_upper)
    risk = Risk(tuple(names), widths, initialization, upper, lower)
    estimate = _estimate(chain, points, initialization, budget) if len(points) else None
    if estimate is None:
        return risk
    return replace(
        risk,
        fraction=estimate.fraction(),
        standard_error=estimate.standard_error(),
        draws=estimate.draws,
        inputs=estimate.points,
    )


def _are_rays(points: Tensor) -> bool:
    """Return True for inputs with one feature and of both signs."""
    return points.dim() == 2 and points.shape[1] == 1 and bool((points > 0).any() and (points < 0).any())


def initialization_of(chain: Sequence[ChainLayer]) -> str:
    """Return the family that the chain's parameters look drawn from.

    Without biases the scale of the weights changes no sign, so any normal weights will do. PyTorch's default is uniform
    within ±1/√fan_in, whose root mean square is 1/√3 of that, give or take 0.45/√n of itself for n numbers.
    """
    biases = _in_default_limits(chain, lambda layer: layer.bias)
    if not biases.any():
        return ZERO_BIAS
    weights = _in_default_limits(chain, lambda layer: layer.weight)
    if _is_uniform(weights) and _is_uniform(biases):
        return TORCH_DEFAULT
    return EMPIRICAL


def _is_uniform(values: Tensor) -> bool:
    """Return True if the values may well be uniform within ±1."""
    limit = math.sqrt(3) * float(values.square().mean().sqrt())
    return float(values.abs().max()) <= 1 + 1e-3 and abs(limit - 1) <= 0.1 + 1.4 / math.sqrt(len(values))


def _in_default_limits(chain: Sequence[ChainLayer], parameter_of: Callable[[ChainLayer], Tensor | None]) -> Tensor:
    """Return all weights or all biases of a chain in units of their layer's 1/√fan_in; empty where there are none."""
    values = []
    for layer in chain:
        parameter = parameter_of(layer)
        if parameter is not None:
            values.append(_to_cpu(parameter).flatten() * math.sqrt(layer.weight[0].numel()))
    return torch.cat(values) if values else torch.zeros(0, device="cpu")


def _to_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to(device="cpu", dtype=torch.float32)


def _estimate(chain: Sequence[ChainLayer], points: Tensor, initialization: str, budget: int) -> Estimate | None:
    """Draw as many nets like the chain as the budget allows, on fewer inputs rather than with too few nets."""
    layers = [stack_layer(layer, initialization) for layer in chain]
    count = len(points)
    while (draws := budget // born_dead.cost(layers, count)) < MIN_DRAWS:
        if count < 2 * MIN_POINTS:
            return None
        count //= 2
    return born_dead.estimate(layers, chain[0].sample_inputs(count), draws=min(draws, MAX_DRAWS))


def stack_layer(layer: ChainLayer, initialization: str) -> StackLayer:
    """Return a layer to draw stacks with that has the shape and the function of ``layer``."""
    return StackLayer(
        shape=tuple(layer.weight.shape),
        initializer=_initializer(layer, initialization),
        forward=torch.vmap(layer.forward) if layer.is_conv else born_dead.dense,
        prepare=partial(_prepare, layer),
        positions=layer.positions,
    )


def _initializer(layer: ChainLayer, initialization: str) -> Initializer:
    if initialization == EMPIRICAL:
        biases = torch.zeros(1, dtype=torch.float32, device="cpu") if layer.bias is None else _to_cpu(layer.bias)
        return born_dead.empirical(float(_to_cpu(layer.weight).square().mean().sqrt()), biases)
    initializer = born_dead.torch_default if initialization == TORCH_DEFAULT else born_dead.he_normal
    return initializer if layer.bias is not None else born_dead.without_biases(initializer)


def _prepare(layer: ChainLayer, x: Tensor) -> Tensor:
    """Make the layer's input from the activations before it, (stacks, points, …): pool, and flatten for a Linear."""
    if layer.pools:
        stacks = len(x)
        x = x.flatten(0, 1)
        for pool in layer.pools:
            x = pool(x)
        x = x.reshape(stacks, -1, *x.shape[1:])
    return x if layer.is_conv else x.flatten(2)
