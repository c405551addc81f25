"""Probability that a stack of ReLU layers is born dead: bounds in closed form, and a Monte Carlo estimate.

A stack is born dead on some inputs when one of its layers is inactive on all of them: the output of everything after it
is constant, and no gradient reaches what comes before. Pure: it knows no module of a user's model and leaves torch's
random generators unchanged.

Source: Lu, Shin, Su, Karniadakis, "Dying ReLU and Initialization", arXiv 1903.06733. A formula that is not in it has
its proof beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

RISK_LINE_MIN = 0.01  # probability from which a risk is worth a line of text, though it is no finding
ASYMMETRIC_MAX_DEPTH = 20  # layers up to which asymmetric weights keep the signal: deeper they make the output constant
ASYMMETRIC_SCALE = 0.6007  # constant of Lu et al., as published
BLOCK_SIZE = 2**20  # numbers held per layer at a time: bounds the memory of an estimate to some tens of MiB

Initializer: TypeAlias = Callable[[int, tuple[int, ...], torch.Generator], tuple[Tensor, Tensor]]
"""Function of a number of stacks, a layer's weight shape (units, inputs, …) and a generator.

It returns the weights, shape (stacks, *shape), and the biases, shape (stacks, units).
"""


def upper_bound(widths: Sequence[int]) -> float:
    """Return 1 - Π (1 - 2^-N_l) ≥ P(born dead) over the ReLU layers, for a symmetric initialization and any inputs.

    Lu et al.: along one input that is not 0, each of the N units of a layer is negative with probability 1/2,
    independently; a dead stack is dead along this input too. For convolutions N counts channels.
    """
    return -math.expm1(sum(math.log1p(-(2.0**-width)) for width in widths))


def ray_bounds(widths: Sequence[int]) -> tuple[float, float]:
    """Return a lower and an upper bound for one input feature, zero biases, and inputs of both signs.

    Such inputs are two rays. A ray survives every layer with probability q = Π (1 - 2^-N_l) exactly, and
    P = 1 - P(one or the other survives) ≥ 1 - 2q. The first layer cannot kill both rays, a later one does with
    probability ≤ 2^-N_l: P ≤ 1 - Π over l ≥ 2.
    """
    return max(0.0, 2 * upper_bound(widths) - 1), upper_bound(widths[1:])


def width_for(layers: int, risk: float) -> int:
    """Return the smallest width at which this many equal layers have an ``upper_bound`` ≤ ``risk``: ~log2(L/risk)."""
    width = 1
    while upper_bound((width,) * layers) > risk:
        width += 1
    return width


def he_std(shape: Sequence[int]) -> float:
    """Return √(2/fan_in), the standard deviation of weights of this shape, (units, inputs, …), by He et al. 2015."""
    return math.sqrt(2 / math.prod(shape[1:]))


def he_normal(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw weights from N(0, 2/fan_in), with biases 0 (He et al. 2015).

    Without biases the scale of the weights changes no sign.
    """
    weights = _normal((stacks, *shape), generator) * he_std(shape)
    return weights, torch.zeros((stacks, shape[0]), dtype=torch.float32, device="cpu")


def torch_default(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw weights and biases uniformly within ±1/√fan_in, as ``nn.Linear`` and ``nn.Conv*`` do by default."""
    limit = 1 / math.sqrt(math.prod(shape[1:]))
    weights = _uniform((stacks, *shape), generator).mul_(2 * limit).sub_(limit)
    biases = _uniform((stacks, shape[0]), generator).mul_(2 * limit).sub_(limit)
    return weights, biases


def randomized_asymmetric(
    stacks: int, shape: tuple[int, ...], generator: torch.Generator, *, biased: bool = True
) -> tuple[Tensor, Tensor]:
    """Draw weights and bias from N(0, 0.6007²/fan_in), but one of them per unit from Beta(2, 1) (Lu et al.).

    0.6007 is where the second moment of a layer's outputs cannot grow: the root of s²/2 + μ₁√(2/π)·s + μ₂ = 1, with the
    moments μ₁ = 2/3 and μ₂ = 1/2 of Beta(2, 1). If a layer is not ``biased`` the biases are 0.
    """
    fan_in = math.prod(shape[1:])
    weights_and_bias = torch.zeros((stacks, shape[0], fan_in + 1), dtype=torch.float32, device="cpu")
    entries = weights_and_bias[..., : fan_in + biased]
    entries.copy_(_normal(tuple(entries.shape), generator) * (ASYMMETRIC_SCALE / math.sqrt(fan_in)))
    beta_index = torch.randint(entries.shape[2], (stacks, shape[0], 1), generator=generator, device="cpu")
    beta = _uniform((stacks, shape[0], 1), generator).sqrt()  # the distribution function of Beta(2, 1) is x²
    entries.scatter_(2, beta_index, beta)
    weights = weights_and_bias[..., :-1].reshape(stacks, *shape).contiguous()
    return weights, weights_and_bias[..., -1].contiguous()


def without_biases(initializer: Initializer) -> Initializer:
    """Return the initializer with biases 0, for a layer that has none."""

    def initialize(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        weights, biases = initializer(stacks, shape, generator)
        return weights, biases.zero_()

    return initialize


def empirical(std: float, biases: Tensor) -> Initializer:
    """Return an initializer with weights from N(0, std²) and biases drawn from ``biases``, shape (any,)."""

    def initialize(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        indices = torch.randint(len(biases), (stacks, shape[0]), generator=generator, device="cpu")
        return _normal((stacks, *shape), generator) * std, biases[indices]

    return initialize


def dense(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Return W·x + b for each stack, from (stacks, points, inputs), (stacks, units, inputs) and (stacks, units)."""
    return torch.baddbmm(biases.unsqueeze(1), x, weights.transpose(1, 2))


def _identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class StackLayer:
    """One layer of a stack, before its ReLU.

    ``prepare`` makes the layer's input from the activations before it, shape (stacks, points, …): pooling, flattening.
    ``forward`` computes its pre-activations, shape (stacks, points, units, …), from input, weights and biases.
    ``positions`` is the number of outputs per unit and point.
    """

    shape: tuple[int, ...]
    initializer: Initializer = he_normal
    forward: Callable[[Tensor, Tensor, Tensor], Tensor] = field(default=dense)
    prepare: Callable[[Tensor], Tensor] = field(default=_identity)
    positions: int = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """The outcome of ``draws`` stacks on ``points`` inputs.

    ``died_at[l]`` counts the stacks of which layer l is the first one that is inactive on all inputs.
    """

    draws: int
    points: int
    died_at: tuple[int, ...]

    def fraction(self, layers: int | None = None) -> float:
        """Return the fraction of stacks born dead, in [0, 1]; if given, with their first ``layers`` layers alone."""
        return sum(self.died_at[:layers]) / self.draws

    def standard_error(self, layers: int | None = None) -> float:
        """Return the standard error of ``fraction``, √(p(1-p)/n).

        p is (dead + 1)/(n + 2), so that an estimate of 0 or 1 does not look certain.
        """
        p = (sum(self.died_at[:layers]) + 1) / (self.draws + 2)
        return math.sqrt(p * (1 - p) / self.draws)


def estimate(layers: Sequence[StackLayer], points: Tensor, *, draws: int, seed: int = 0) -> Estimate:
    """Draw the stack ``draws`` times, and count the layers that are the first inactive one of their stack.

    Args:
        layers: the stack.
        points: inputs of its first layer, shape (points, …), in any unit.
        draws: number of stacks.
        seed: seed of a separate random generator.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    block = max(1, BLOCK_SIZE // _largest_tensor(layers, points))
    died = torch.zeros(len(layers) + 1, dtype=torch.int64, device="cpu")
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for start in range(0, draws, block):
            died += _first_inactive(layers, points, min(block, draws - start), generator)
    return Estimate(draws, len(points), tuple(died[:-1].tolist()))


def cost(layers: Sequence[StackLayer], points: int) -> int:
    """Return the work per stack in multiplications of small matrices, as measured on one core of an ordinary server.

    Drawing a number, or testing a unit on a point, takes five times as long; in a matrix product of 64 by 64 and more a
    multiplication takes an eighth.
    """
    return sum(_layer_cost(layer, points * layer.positions) for layer in layers)


def _layer_cost(layer: StackLayer, outputs: int) -> int:
    weights = math.prod(layer.shape)
    units = layer.shape[0]
    speedup = min(8, 1 + min(layer.shape) // 8) if len(layer.shape) == 2 else 1
    return weights * 5 + weights * outputs // speedup + 5 * units * outputs


def _largest_tensor(layers: Sequence[StackLayer], points: Tensor) -> int:
    """Return the number of entries of the largest tensor that one stack needs."""
    largest = points.numel()
    for layer in layers:
        outputs = len(points) * layer.shape[0] * layer.positions
        largest = max(largest, outputs, math.prod(layer.shape))
    return largest


def _first_inactive(layers: Sequence[StackLayer], points: Tensor, stacks: int, generator: torch.Generator) -> Tensor:
    """Return the number of stacks whose first inactive layer is each one, shape (layers + 1,); the last counts none."""
    died = torch.zeros(len(layers) + 1, dtype=torch.int64, device="cpu")
    x = points.expand(stacks, *points.shape)
    for index, layer in enumerate(layers):
        weights, biases = layer.initializer(len(x), layer.shape, generator)
        x = layer.forward(layer.prepare(x), weights, biases).relu_()
        alive = x.flatten(1).amax(1) > 0
        died[index] = len(x) - alive.sum()
        if died[index]:
            x = x[alive]
        if not len(x):
            return died
    died[-1] = len(x)
    return died


# The type is given because the user may have set another default.
def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")
