"""Forgetting what an optimizer remembers of some entries of a parameter, and of these alone.

First moments become 0. Second moments become what the parameter's other entries have on average: Adam's step count is
one number for a whole tensor, so that at a late step no correction for a moment of 0 is left, and such an entry would
move up to six times as far as the rate says. Where all entries are forgotten, moments and step count begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._applied import Change

FIRST = frozenset({"momentum_buffer", "exp_avg", "grad_avg", "prev"})
"""SGD and RMSprop, Adam and its like, centered RMSprop, Rprop."""
SECOND = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "acc_delta", "step_size"})
"""Adam and AMSGrad, RMSprop and Adadelta, Adagrad, Adamax, Adadelta, Rprop: scales of past gradients or steps."""


def forget(
    optimizer: Optimizer, masks: Mapping[nn.Parameter, Tensor], labels: Mapping[int, str]
) -> tuple[list[Change], list[str]]:
    """Reset the moments of the entries under each mask; what was changed, and what was not known how to.

    ``labels`` gives each parameter's name by its id.
    """
    changes: list[Change] = []
    notes: list[str] = []
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    for parameter, mask in masks.items():
        label = labels[id(parameter)]
        if id(parameter) not in held:
            notes.append(f"{label} is not in the optimizer")
            continue
        state = optimizer.state.get(parameter, {})
        group = next(group for group in optimizer.param_groups if any(one is parameter for one in group["params"]))
        changes += [Change(label, name, None, *values) for name, values in _forget(parameter, mask, state, group)]
        notes += [
            f"{label}: {name} of {type(optimizer).__name__} was left as it is" for name in _others(parameter, state)
        ]
    return changes, notes


def _forget(
    parameter: nn.Parameter, mask: Tensor, state: dict[str, Any], group: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[float, float]]]:
    whole = bool(mask.all())
    for name, moment in state.items():
        if name in FIRST | SECOND and isinstance(moment, Tensor) and moment.shape == parameter.shape:
            before = float(moment[mask].float().mean())
            after = 0.0 if name in FIRST else _start(name, moment, mask, group, whole=whole)
            with torch.no_grad():
                moment.masked_fill_(mask, after)
            yield name, (before, after)
    if whole and "step" in state:
        before = float(state["step"])
        if isinstance(state["step"], Tensor):
            state["step"].zero_()
        else:
            state["step"] = 0
        yield "step", (before, 0.0)


def _start(name: str, moment: Tensor, mask: Tensor, group: Mapping[str, Any], *, whole: bool) -> float:
    if not whole:
        return float(moment[~mask].double().mean())
    if name == "sum":
        return float(group.get("initial_accumulator_value", 0.0))
    return float(group["lr"]) if name == "step_size" else 0.0


def _others(parameter: nn.Parameter, state: Mapping[str, Any]) -> list[str]:
    """State per entry that is not known."""
    return [
        name
        for name, value in state.items()
        if name not in FIRST | SECOND and isinstance(value, Tensor) and value.numel() >= max(parameter.numel(), 2)
    ]
