"""Reset of the optimizer state of some entries of a parameter, and of these alone.

First moments become 0. Second moments become the mean of the parameter's other entries: Adam's step count is one number
for a whole tensor, so that late in a training a second moment of 0 is not corrected for, and such an entry would move
up to six times as far as the learning rate says. Where all entries are reset, moments and step count start over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._torch.optimizers import find_param_group
from relumine.alert_actions import Change

# SGD and RMSprop; Adam and its variants; centered RMSprop; Rprop.
FIRST_MOMENTS = frozenset({"momentum_buffer", "exp_avg", "grad_avg", "prev"})
# Scales of past gradients or steps: Adam and AMSGrad; RMSprop and Adadelta; Adagrad; Adamax; Adadelta; Rprop.
SECOND_MOMENTS = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "acc_delta", "step_size"})
KNOWN_MOMENTS = FIRST_MOMENTS | SECOND_MOMENTS


def reset_state(
    optimizer: Optimizer, masks: Mapping[nn.Parameter, Tensor], labels: Mapping[int, str]
) -> tuple[list[Change], list[str]]:
    """Reset the moments of the entries under each mask; return the changes, and notes on what could not be reset.

    ``labels`` gives each parameter's name by its id.
    """
    changes: list[Change] = []
    notes: list[str] = []
    for parameter, mask in masks.items():
        label = labels[id(parameter)]
        location = find_param_group([optimizer], parameter)
        if location is None:
            notes.append(f"{label} is not in the optimizer")
            continue
        group = optimizer.param_groups[location[1]]
        state = optimizer.state.get(parameter, {})
        for name, previous, updated in _reset_entries(parameter, mask, state, group):
            changes.append(Change(label, name, None, previous, updated))
        kind = type(optimizer).__name__
        notes += [f"{label}: {name} of {kind} was left unchanged" for name in _unknown_moments(parameter, state)]
    return changes, notes


def _reset_entries(
    parameter: nn.Parameter, mask: Tensor, state: dict[str, Any], group: Mapping[str, Any]
) -> Iterator[tuple[str, float, float]]:
    """Reset the entries under the mask; yield each moment's name with their previous mean and their new value."""
    resets_all = bool(mask.all())
    for name, moment in state.items():
        if name in KNOWN_MOMENTS and isinstance(moment, Tensor) and moment.shape == parameter.shape:
            previous = float(moment[mask].float().mean())
            updated = _initial_value(name, group) if resets_all else _reset_value(name, moment, mask)
            with torch.no_grad():
                moment.masked_fill_(mask, updated)
            yield name, previous, updated
    if resets_all and "step" in state:
        previous = float(state["step"])
        if isinstance(state["step"], Tensor):
            state["step"].zero_()
        else:
            state["step"] = 0
        yield "step", previous, 0.0


def _reset_value(name: str, moment: Tensor, mask: Tensor) -> float:
    """Return the value of reset entries while other entries of the tensor keep theirs."""
    if name in FIRST_MOMENTS:
        return 0.0
    return float(moment[~mask].double().mean())


def _initial_value(name: str, group: Mapping[str, Any]) -> float:
    """Return the value that the optimizer starts a moment with."""
    if name == "sum":
        return float(group.get("initial_accumulator_value", 0.0))
    if name == "step_size":
        return float(group["lr"])
    return 0.0


def _unknown_moments(parameter: nn.Parameter, state: Mapping[str, Any]) -> list[str]:
    """Return the names of state tensors with an entry for each of the parameter's that are no known moment."""
    unknown = []
    for name, value in state.items():
        if name not in KNOWN_MOMENTS and isinstance(value, Tensor) and value.numel() >= max(parameter.numel(), 2):
            unknown.append(name)
    return unknown
