"""How likely a stack of ReLU layers is born dead: bounds in closed form, and an estimate by drawing many such stacks.

A stack is born dead on some inputs when one of its layers fires for none of them: what comes after it is constant, and
no gradient reaches what came before. Pure: knows no module of the user's and leaves torch's generators alone.

Source: Lu, Shin, Su, Karniadakis, "Dying ReLU and Initialization", arXiv 1903.06733; where a formula is our own, its
proof stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

BLOCK = 2**20  # numbers held per layer at a time: bounds the memory of an estimate to some tens of MiB
ASYMMETRIC = 0.6007  # Lu et al.'s constant, as published

Draw: TypeAlias = Callable[[int, tuple[int, ...], torch.Generator], tuple[Tensor, Tensor]]
"""How many, a, shape (units, inputs, …), generator → weights (stacks, *shape), biases (stacks, units)."""


def upper_bound(widths: Sequence[int]) -> float:
    """P(born dead) ≤ 1 - Π (1 - 2^-N_l) over the ReLU layers, for a symmetric initialization and any inputs.

    Lu et al.: along one input that is not 0, each of the N units of a layer is negative with probability 1/2,
    independently; a dead stack is dead along this input too. For convolutions N counts channels.
    """
    return -math.expm1(sum(math.log1p(-(2.0**-width)) for width in widths))


def ray_bounds(widths: Sequence[int]) -> tuple[float, float]:
    """Lower and upper bound for one input feature, zero biases, and inputs of both signs.

    Such inputs are two rays. A ray survives every layer with probability q = Π (1 - 2^-N_l) exactly, and
    P = 1 - P(one or the other survives) ≥ 1 - 2q. The first layer cannot kill both rays, a later one does with
    probability ≤ 2^-N_l: P ≤ 1 - Π over l ≥ 2.
    """
    return max(0.0, 2 * upper_bound(widths) - 1), upper_bound(widths[1:])


def width_for(layers: int, risk: float) -> int:
    """The smallest width at which that many equal layers have an ``upper_bound`` ≤ ``risk``: about log2(L/risk)."""
    width = 1
    while upper_bound((width,) * layers) > risk:
        width += 1
    return width


def he(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """He et al. 2015: weights N(0, 2/fan_in), biases 0. With these the scale of the weights changes no sign."""
    weights = _normal((stacks, *shape), generator) * math.sqrt(2 / math.prod(shape[1:]))
    return weights, torch.zeros((stacks, shape[0]), dtype=torch.float32, device="cpu")


def pytorch(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What ``nn.Linear`` and ``nn.Conv*`` do by default: weights and biases uniform within ±1/√fan_in."""
    limit = 1 / math.sqrt(math.prod(shape[1:]))
    weights = _uniform((stacks, *shape), generator).mul_(2 * limit).sub_(limit)
    return weights, _uniform((stacks, shape[0]), generator).mul_(2 * limit).sub_(limit)


def randomized_asymmetric(
    stacks: int, shape: tuple[int, ...], generator: torch.Generator, *, biased: bool = True
) -> tuple[Tensor, Tensor]:
    """Lu et al.: weights and bias N(0, 0.6007²/fan_in), and in each unit one of them, at random, from Beta(2, 1).

    0.6007 is where the second moment of a layer's answers cannot grow: the root of s²/2 + μ₁√(2/π)·s + μ₂ = 1, with the
    moments μ₁ = 2/3 and μ₂ = 1/2 of Beta(2, 1). Where a layer is not ``biased`` the biases are 0.
    """
    inputs = math.prod(shape[1:])
    both = torch.zeros((stacks, shape[0], inputs + 1), dtype=torch.float32, device="cpu")
    drawn = both[..., : inputs + biased]
    drawn.copy_(_normal(tuple(drawn.shape), generator) * (ASYMMETRIC / math.sqrt(inputs)))
    place = torch.randint(drawn.shape[2], (stacks, shape[0], 1), generator=generator, device="cpu")
    drawn.scatter_(2, place, _uniform((stacks, shape[0], 1), generator).sqrt())  # its distribution function is x²
    return both[..., :-1].reshape(stacks, *shape).contiguous(), both[..., -1].contiguous()


def without_biases(draw: Draw) -> Draw:
    """The same for a layer that has no biases: they are 0."""

    def unbiased(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        weights, biases = draw(stacks, shape, generator)
        return weights, biases.zero_()

    return unbiased


def like(spread: float, biases: Tensor) -> Draw:
    """Weights N(0, spread²), each bias drawn from ``biases``, shape (any,): for a layer that follows no rule."""

    def draw(stacks: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(biases), (stacks, shape[0]), generator=generator, device="cpu")
        return _normal((stacks, *shape), generator) * spread, biases[chosen]

    return draw


def dense(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """W·x + b for each stack: (stacks, points, inputs), (stacks, units, inputs), (stacks, units)."""
    return torch.baddbmm(biases.unsqueeze(1), x, weights.transpose(1, 2))


def _as_it_is(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a stack, before its ReLU.

    ``read`` makes of the activations before it, shape (stacks, points, …), what it reads: pooling, flattening.
    ``respond`` gives its pre-activations (stacks, points, units, …) from those, weights and biases.
    ``positions`` is how many outputs a unit has per point.
    """

    shape: tuple[int, ...]
    draw: Draw = he
    respond: Callable[[Tensor, Tensor, Tensor], Tensor] = field(default=dense)
    read: Callable[[Tensor], Tensor] = field(default=_as_it_is)
    positions: int = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of ``draws`` stacks, ``died_at[l]`` were silent on all ``points`` inputs in layer l and in none before it."""

    draws: int
    points: int
    died_at: tuple[int, ...]

    def share(self, layers: int | None = None) -> float:
        """The share that is born dead, in [0, 1]; of the first ``layers`` layers alone where that is given."""
        return sum(self.died_at[:layers]) / self.draws

    def standard_error(self, layers: int | None = None) -> float:
        """Of ``share``: √(p(1-p)/n) at p = (dead + 1)/(n + 2), so that no or all dead does not pass for certainty."""
        p = (sum(self.died_at[:layers]) + 1) / (self.draws + 2)
        return math.sqrt(p * (1 - p) / self.draws)


def estimate(layers: Sequence[Layer], points: Tensor, *, draws: int, seed: int = 0) -> Estimate:
    """Draw the stack ``draws`` times, and count in which layer each is silent first.

    Args:
        layers: the stack.
        points: what its first layer reads, shape (points, …): any unit.
        draws: how many stacks.
        seed: of a generator of its own.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    at_once = max(1, BLOCK // _most_numbers(layers, points))
    died = torch.zeros(len(layers) + 1, dtype=torch.int64, device="cpu")
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for start in range(0, draws, at_once):
            died += _first_silent(layers, points, min(at_once, draws - start), generator)
    return Estimate(draws, len(points), tuple(died[:-1].tolist()))


def cost(layers: Sequence[Layer], points: int) -> int:
    """Work per stack, in multiplications of small matrices; as measured on one core of an ordinary server.

    Drawing a number, or asking whether a unit fires on a point, takes five times as long; in a matrix product of 64 by
    64 and more a multiplication takes an eighth.
    """
    return sum(_cost(layer, points * layer.positions) for layer in layers)


def _cost(layer: Layer, outputs: int) -> int:
    weights, units = math.prod(layer.shape), layer.shape[0]
    faster = min(8, 1 + min(layer.shape) // 8) if len(layer.shape) == 2 else 1
    return weights * 5 + weights * outputs // faster + 5 * units * outputs


def _most_numbers(layers: Sequence[Layer], points: Tensor) -> int:
    answers = (len(points) * layer.shape[0] * layer.positions for layer in layers)
    return max(points.numel(), *answers, *(math.prod(layer.shape) for layer in layers))


def _first_silent(layers: Sequence[Layer], points: Tensor, stacks: int, generator: torch.Generator) -> Tensor:
    """How many stacks are silent first in each layer, shape (layers + 1,); the last: in none."""
    died = torch.zeros(len(layers) + 1, dtype=torch.int64, device="cpu")
    x = points.expand(stacks, *points.shape)
    for index, layer in enumerate(layers):
        weights, biases = layer.draw(len(x), layer.shape, generator)
        x = layer.respond(layer.read(x), weights, biases).relu_()
        alive = x.flatten(1).amax(1) > 0
        died[index] = len(x) - alive.sum()
        if died[index]:
            x = x[alive]
        if not len(x):
            return died
    died[-1] = len(x)
    return died


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(
        shape, generator=generator, dtype=torch.float32, device="cpu"
    )  # whatever the user's defaults are


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")
