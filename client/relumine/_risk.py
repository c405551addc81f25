"""What a chain of plain layers risks: that a net of its widths, depth and kind of initialization is born dead.

The bound always; an estimate where the bound is worth one and the work is bounded. Nothing of the model is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from relumine import _birth
from relumine._birth import Draw, Estimate, Layer
from relumine._chains import Link

NEGLIGIBLE = 1e-4  # a bound below it is not worth an estimate
DRAWS = 10_000
FEWEST_DRAWS = 500  # a standard error of at most 2.3 percentage points
POINTS, FEWEST_POINTS = 64, 16  # inputs to try nets on: silence on few of them says little of the others
BUDGET = 2 * 10**9  # multiplications per check: two or three seconds of one slow core

ZERO_BIAS, DEFAULT, OWN = "normal weights, zero biases", "PyTorch's default", "each layer's own spread"


@dataclass(frozen=True, slots=True)
class Risk:
    """What one chain risks; shares are in [0, 1].

    ``share`` of ``draws`` nets with its widths and depth, drawn with ``initialization``, were born dead on ``inputs``
    examples of what it reads; None where the bound is negligible or trying would take too long. ``upper_bound`` holds
    for every symmetric initialization, ``lower_bound`` is given where one is known.
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    initialization: str
    upper_bound: float
    lower_bound: float | None
    share: float | None = None
    standard_error: float | None = None
    draws: int = 0
    inputs: int = 0


def risks_of(chains: Sequence[Sequence[Link]], names: Mapping[int, str]) -> tuple[Risk, ...]:
    """The risk of each chain; ``names`` are those of the activations, by the id of their layer's weight."""
    narrow = sum(_birth.upper_bound(widths_of(chain)) >= NEGLIGIBLE for chain in chains)
    return tuple(_risk(chain, [names[id(link.weight)] for link in chain], BUDGET // max(1, narrow)) for chain in chains)


def widths_of(chain: Sequence[Link]) -> tuple[int, ...]:
    """Units of each layer."""
    return tuple(link.units for link in chain)


def _risk(chain: Sequence[Link], names: Sequence[str], budget: int) -> Risk:
    initialization = initialization_of(chain)
    upper, lower = _birth.upper_bound(widths_of(chain)), None
    points = chain[0].points(POINTS if upper >= NEGLIGIBLE else 0)
    if initialization == ZERO_BIAS and _are_rays(points):
        lower, tighter = _birth.ray_bounds(widths_of(chain))
        upper = min(upper, tighter)
    risk = Risk(tuple(names), widths_of(chain), initialization, upper, lower)
    found = _try(chain, points, initialization, budget) if len(points) else None
    if found is None:
        return risk
    return replace(
        risk, share=found.share(), standard_error=found.standard_error(), draws=found.draws, inputs=found.points
    )


def _are_rays(points: Tensor) -> bool:
    return points.dim() == 2 and points.shape[1] == 1 and bool((points > 0).any() and (points < 0).any())


def initialization_of(chain: Sequence[Link]) -> str:
    """Which family the chain's parameters look drawn from.

    Without biases the scale of the weights changes no sign, so any normal weights will do. PyTorch's default is uniform
    within ±1/√fan_in, whose root mean square is 1/√3 of that, give or take 0.45/√n of itself for n numbers.
    """
    biases = _relative(chain, lambda link: link.bias)
    if not biases.any():
        return ZERO_BIAS
    weights = _relative(chain, lambda link: link.weight)
    return DEFAULT if _is_uniform(weights) and _is_uniform(biases) else OWN


def _is_uniform(values: Tensor) -> bool:
    """Whether the values may well be uniform within ±1."""
    spread = math.sqrt(3) * float(values.square().mean().sqrt())
    return float(values.abs().max()) <= 1 + 1e-3 and abs(spread - 1) <= 0.1 + 1.4 / math.sqrt(len(values))


def _relative(chain: Sequence[Link], part: Callable[[Link], Tensor | None]) -> Tensor:
    """All weights or all biases of a chain, in units of their layer's 1/√fan_in; empty where there are none."""
    found = [(part(link), math.sqrt(link.weight[0].numel())) for link in chain]
    values = [_plain(tensor).flatten() * root for tensor, root in found if tensor is not None]
    return torch.cat(values) if values else torch.zeros(0, device="cpu")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to(device="cpu", dtype=torch.float32)


def _try(chain: Sequence[Link], points: Tensor, initialization: str, budget: int) -> Estimate | None:
    """Draw nets like the chain: as many as the budget allows, on fewer inputs rather than too few nets."""
    layers = [_layer(link, initialization) for link in chain]
    count = len(points)
    while (draws := budget // _birth.cost(layers, count)) < FEWEST_DRAWS:
        if count < 2 * FEWEST_POINTS:
            return None
        count //= 2
    return _birth.estimate(layers, chain[0].points(count), draws=min(draws, DRAWS))


def _layer(link: Link, initialization: str) -> Layer:
    return Layer(
        shape=tuple(link.weight.shape),
        draw=_draw(link, initialization),
        respond=torch.vmap(link.answer) if link.is_conv else _birth.dense,
        read=partial(_read, link),
        positions=link.positions,
    )


def _draw(link: Link, initialization: str) -> Draw:
    if initialization == OWN:
        biases = torch.zeros(1, dtype=torch.float32, device="cpu") if link.bias is None else _plain(link.bias)
        return _birth.like(float(_plain(link.weight).square().mean().sqrt()), biases)
    draw = _birth.pytorch if initialization == DEFAULT else _birth.he
    return draw if link.bias is not None else _birth.without_biases(draw)


def _read(link: Link, x: Tensor) -> Tensor:
    """What the link makes of the activations before it, (stacks, points, …): pooled, and flat for a Linear."""
    if link.pools:
        stacks = len(x)
        x = x.flatten(0, 1)
        for pool in link.pools:
            x = pool(x)
        x = x.reshape(stacks, -1, *x.shape[1:])
    return x if link.is_conv else x.flatten(2)
