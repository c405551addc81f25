"""The effect of each kind of fault on a training. Amounts are in the unit of the kind.

Learning rate:

- rate: factor of the learning rate;
- growing: factor of each restart's peak over the previous one;
- resume: the schedule starts over at so many times its peak, without the optimizer's memory;
- momentum: its new value;
- layer_rate: factor of the learning rate of one layer.

Biases:

- bias: the initial biases;
- push: a regularizer, amount · mean pre-activation of every unit;
- part_push: the same on the first 65 % of a layer's units;
- bias_target: a regularizer, mean over units of (mean pre-activation - amount)², as of a bias with a target;
- l1: a regularizer, amount · mean activation of every unit;
- low_rate: a regularizer that keeps the active rate of every unit near the amount;
- bias_rate: factor of the learning rate of all biases;
- target: subtracted from the targets;
- decay: weight decay of the weights alone.

Initialization:

- partly_dead: the share of the units that can never be active;
- narrow: the width of all layers;
- negative_mean: standard deviations subtracted from all weights;
- tiny: weights become a hundredth, biases minus the amount;
- huge: factor of all weights.

Inputs:

- offset: added to the inputs;
- gain: factor of the inputs;
- raw: the inputs before normalization;
- bursts: factor of a part of every ``every``-th batch;
- stuck: the part of the inputs that becomes constant.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from research.corpus.datasets import Dataset
from research.corpus.ground_truth import forward
from research.corpus.model_families import head, producers
from research.corpus.recipe import Fault, Initialization, Net, Recipe

BURST_SHARE = 0.25
"""Of a batch."""
NEVER_ACTIVE_BIAS = -20.0
PUSHED_SHARE = 0.65
"""Of a layer, by a push on a part of it."""
LOW_RATE_WEIGHT = 2.0
LOSS_TERMS = ("push", "part_push", "bias_target", "l1", "low_rate")


def prepare(recipe: Recipe, model: nn.Module, dataset: Dataset) -> None:
    """Initialize a fresh model as the recipe and its faults require."""
    with torch.no_grad():
        for initialization in recipe.initialization:
            _initialize(model, initialization, dataset.x)
        for fault in recipe.faults:
            _apply_to_weights(model, fault)


def net_of(recipe: Recipe) -> Net:
    """Return the recipe's model, narrowed if that is its fault."""
    for fault in recipe.faults:
        if fault.kind == "narrow":
            return replace(recipe.net, widths=(int(fault.amount),) * len(recipe.net.widths))
    return recipe.net


def affected_producers(model: nn.Module, layer: int) -> list[nn.Module]:
    """Return the producers of one activation, or of all for -1."""
    all_producers = producers(model)
    return all_producers if layer < 0 else [all_producers[layer]]


def _initialize(model: nn.Module, initialization: Initialization, x: Tensor) -> None:
    if initialization.kind == "selective":
        for index, producer in enumerate(producers(model)):
            if initialization.layer in (-1, index):
                _set_active_share(model, index, producer, initialization.amount, x)
    elif initialization.kind == "positive_head":
        weight = head(model).get_parameter("weight")
        weight.copy_(weight.abs())
    else:
        for producer in affected_producers(model, initialization.layer):
            _fill(producer, initialization)


def _fill(producer: nn.Module, initialization: Initialization) -> None:
    weight = producer.get_parameter("weight")
    bias = producer.get_parameter("bias")
    if initialization.kind == "he":
        nn.init.kaiming_normal_(weight)
        bias.zero_()
    elif initialization.kind == "bias":
        bias.fill_(initialization.amount)
    elif initialization.kind == "few_dead":
        bias[: round(initialization.amount * bias.numel())] = NEVER_ACTIVE_BIAS


def _set_active_share(model: nn.Module, index: int, producer: nn.Module, share: float, x: Tensor) -> None:
    """Set biases with which each unit of an activation is active on this share of the examples."""
    _output, activations = forward(model, x)
    _can_die, z = activations[index]
    by_unit = z.movedim(1, -1).flatten(0, -2) if z.dim() == 4 else z.flatten(0, -2)
    producer.get_parameter("bias").sub_(by_unit.quantile(1 - share, 0))


def _apply_to_weights(model: nn.Module, fault: Fault) -> None:
    for producer in affected_producers(model, fault.layer):
        weight = producer.get_parameter("weight")
        bias = producer.get_parameter("bias")
        if fault.kind == "bias":
            bias.fill_(fault.amount)
        elif fault.kind == "partly_dead":
            bias[: round(fault.amount * bias.numel())] = NEVER_ACTIVE_BIAS
        elif fault.kind == "negative_mean":
            weight.sub_(fault.amount * weight.std())
        elif fault.kind == "tiny":
            weight.mul_(0.01)
            bias.fill_(-fault.amount)
        elif fault.kind == "huge":
            weight.mul_(fault.amount)


def inputs_at(recipe: Recipe, dataset: Dataset, x: Tensor, step: int, *, bursts: bool) -> Tensor:
    """Return the inputs as this step gets them; ``bursts``: with faults of single batches."""
    for fault in recipe.faults:
        if fault.is_active(step):
            x = _changed_inputs(fault, dataset, x, fault.ramp_share(step), step if bursts else None)
    return x


def _changed_inputs(fault: Fault, dataset: Dataset, x: Tensor, ramp_share: float, step: int | None) -> Tensor:
    if fault.kind == "offset":
        return x + ramp_share * fault.amount
    if fault.kind == "gain":
        return x * float(fault.amount**ramp_share)
    if fault.kind == "raw":
        return x * dataset.raw[1] + dataset.raw[0]
    if fault.kind == "stuck":
        return x * (1 - ramp_share * fault.amount)
    if fault.kind == "bursts" and step is not None and (step - fault.start) % fault.every == 0:
        count = max(1, round(BURST_SHARE * len(x)))
        return torch.cat([x[:count] * fault.amount, x[count:]])
    return x


def targets_at(recipe: Recipe, y: Tensor, step: int) -> Tensor:
    """Return the targets as this step gets them."""
    for fault in recipe.faults:
        if fault.kind == "target" and fault.is_active(step):
            y = y - fault.amount * fault.ramp_share(step)
    return y


def active_pushes(recipe: Recipe, step: int) -> list[Fault]:
    """Return the regularizers of this step, of which most are harmful."""
    return [fault for fault in recipe.faults if fault.kind in LOSS_TERMS and fault.is_active(step)]


def extra_loss(
    recipe: Recipe, step: int, activations: list[tuple[bool, Tensor]], *, with_pushes: bool = True
) -> Tensor:
    """Return the penalty on activations and, if asked for, the pushes: sums over units, means over everything else."""
    total = torch.zeros(())
    if recipe.penalty:
        for _can_die, z in activations:
            total = total + recipe.penalty * torch.relu(z).sum(_unit_dim(z)).mean()
    if with_pushes:
        for fault in active_pushes(recipe, step):
            for index, (_can_die, z) in enumerate(activations):
                if fault.layer in (-1, index):
                    total = total + fault.ramp_share(step) * _loss_term(fault, z)
    return total


def _loss_term(fault: Fault, z: Tensor) -> Tensor:
    """Return the term that a regularizer adds for one activation."""
    if fault.kind == "push":
        return fault.amount * z.sum(_unit_dim(z)).mean()
    by_unit = z.movedim(_unit_dim(z), -1).flatten(0, -2)
    if fault.kind == "part_push":
        return fault.amount * by_unit[:, : round(PUSHED_SHARE * by_unit.shape[1])].sum(1).mean()
    if fault.kind == "l1":
        return fault.amount * torch.relu(by_unit).sum(1).mean()
    if fault.kind == "low_rate":
        return LOW_RATE_WEIGHT * (torch.sigmoid(4 * by_unit).mean(0) - fault.amount).square().mean()
    return (by_unit.mean(0) - fault.amount).square().mean()


def _unit_dim(z: Tensor) -> int:
    return 1 if z.dim() == 4 else -1
