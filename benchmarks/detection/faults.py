"""What each kind of fault does.

The amounts are

rate: times the learning rate · growing: every restart's peak times the one before · resume: the schedule begins anew at
so many times its peak, without the optimizer's memory · momentum: its new value · layer_rate: times the rate of a layer

bias: the biases at the start · push: a regulariser, amount · mean pre-activation of every unit · bias_rate: times the
rate of all biases · target: taken from the targets · decay: of the weights alone

narrow: the width of all layers · negative_mean: deviations taken from all weights · tiny: weights a
hundredth, biases minus the amount · huge: times all weights

offset, gain: added to, times the input · raw: the input as it was before normalisation · bursts: times a part of every
``every``-th batch · stuck: the part of the input that becomes constant
"""

from __future__ import annotations

from dataclasses import replace

import torch
from families import head, producers
from materials import Material
from recipe import Fault, Net, Recipe, Start
from torch import Tensor, nn
from truth import forward

BURST_SHARE = 0.25  # of a batch
NEVER = -20.0  # a bias at which no example fires a unit


def prepare(recipe: Recipe, model: nn.Module, material: Material) -> None:
    """What the recipe wants of a fresh model, and what its fault does to it."""
    with torch.no_grad():
        for start in recipe.start:
            _begin(model, start, material.x)
        for fault in recipe.faults:
            _spoil(model, fault)


def net_of(recipe: Recipe) -> Net:
    """The recipe's model, or what its fault makes of it."""
    for fault in recipe.faults:
        if fault.kind == "narrow":
            return replace(recipe.net, widths=(int(fault.amount),) * len(recipe.net.widths))
    return recipe.net


def chosen(model: nn.Module, layer: int) -> list[nn.Module]:
    """The producers that a fault speaks of."""
    fed = producers(model)
    return fed if layer < 0 else [fed[layer]]


def _begin(model: nn.Module, start: Start, x: Tensor) -> None:
    if start.kind == "selective":
        for place, part in enumerate(producers(model)):
            if start.layer in (-1, place):
                _level(model, place, part, start.amount, x)
    elif start.kind == "positive_head":
        weight = head(model).get_parameter("weight")
        weight.copy_(weight.abs())
    else:
        for part in chosen(model, start.layer):
            _fill(part, start)


def _fill(part: nn.Module, start: Start) -> None:
    weight, bias = part.get_parameter("weight"), part.get_parameter("bias")
    if start.kind == "he":
        nn.init.kaiming_normal_(weight)
        bias.zero_()
    elif start.kind == "bias":
        bias.fill_(start.amount)
    elif start.kind == "few_dead":
        bias[: round(start.amount * bias.numel())] = NEVER


def _level(model: nn.Module, place: int, part: nn.Module, share: float, x: Tensor) -> None:
    """Biases at which each unit fires on this share of everything."""
    z = forward(model, x)[1][place][1]
    flat = z.movedim(1, -1).flatten(0, -2) if z.dim() == 4 else z.flatten(0, -2)
    part.get_parameter("bias").sub_(flat.quantile(1 - share, 0))


def _spoil(model: nn.Module, fault: Fault) -> None:
    parts = chosen(model, fault.layer)
    for part in parts:
        weight, bias = part.get_parameter("weight"), part.get_parameter("bias")
        if fault.kind == "bias":
            bias.fill_(fault.amount)
        elif fault.kind == "negative_mean":
            weight.sub_(fault.amount * weight.std())
        elif fault.kind == "tiny":
            weight.mul_(0.01)
            bias.fill_(-fault.amount)
        elif fault.kind == "huge":
            weight.mul_(fault.amount)


def inputs(recipe: Recipe, material: Material, x: Tensor, step: int, *, bursts: bool) -> Tensor:
    """The input as this step sees it; ``bursts``: with what befalls single batches."""
    for fault in recipe.faults:
        if fault.holds(step):
            x = _changed(fault, material, x, fault.grown(step), step if bursts else None)
    return x


def _changed(fault: Fault, material: Material, x: Tensor, part: float, step: int | None) -> Tensor:
    if fault.kind == "offset":
        return x + part * fault.amount
    if fault.kind == "gain":
        return x * float(fault.amount**part)
    if fault.kind == "raw":
        return x * material.raw[1] + material.raw[0]
    if fault.kind == "stuck":
        return x * (1 - part * fault.amount)
    if fault.kind == "bursts" and step is not None and (step - fault.at) % fault.every == 0:
        few = max(1, round(BURST_SHARE * len(x)))
        return torch.cat([x[:few] * fault.amount, x[few:]])
    return x


def targets(recipe: Recipe, y: Tensor, step: int) -> Tensor:
    """The targets as this step sees them."""
    for fault in recipe.faults:
        if fault.kind == "target" and fault.holds(step):
            y = y - fault.amount * fault.grown(step)
    return y


def pushes(recipe: Recipe, step: int) -> list[Fault]:
    """The regularisers of this step."""
    return [fault for fault in recipe.faults if fault.kind == "push" and fault.holds(step)]


def extra_loss(recipe: Recipe, step: int, seen: list[tuple[bool, Tensor]], *, pushed: bool = True) -> Tensor:
    """Penalties on activations, healthy and, if ``pushed``, not: sums over units, means over examples and positions."""
    total = torch.zeros(())
    for _can_die, z in seen if recipe.penalty else ():
        total = total + recipe.penalty * torch.relu(z).sum(_unit_dim(z)).mean()
    for fault in pushes(recipe, step) if pushed else ():
        for place, (_can_die, z) in enumerate(seen):
            if fault.layer in (-1, place):
                total = total + fault.amount * fault.grown(step) * z.sum(_unit_dim(z)).mean()
    return total


def _unit_dim(z: Tensor) -> int:
    return 1 if z.dim() == 4 else -1
