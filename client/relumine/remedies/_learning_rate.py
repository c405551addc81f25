"""A lower learning rate that stays lowered: in the optimizer's parameter groups and in what its schedulers use."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from relumine._torch.optimizers import chosen_groups, unwrap_optimizer
from relumine.alert_actions import Change, RemedyResult

Schedulers: TypeAlias = Any | Iterable[Any]

# Keys that schedulers keep in an optimizer's groups: all of them, OneCycleLR, SWALR.
GROUP_KEYS = ("initial_lr", "max_lr", "min_lr", "swa_lr")
# Lists in a scheduler with one learning rate per group: all of them, CyclicLR, ReduceLROnPlateau.
SCHEDULER_LISTS = ("base_lrs", "max_lrs", "min_lrs", "_last_lr")
# Numbers in a scheduler that hold for all groups: the cosine schedules, ReduceLROnPlateau.
SCHEDULER_NUMBERS = ("eta_min", "default_min_lr")
NO_SCHEDULER_GIVEN = (
    "this optimizer has or had a scheduler and none was given: its next step may undo this (schedulers=…)"
)


def lower_learning_rate(
    optimizer: Optimizer,
    lr: float | None = None,
    *,
    factor: float | None = None,
    schedulers: Schedulers = (),
    groups: Iterable[int] | None = None,
) -> RemedyResult:
    """Lower the learning rate, and with it the whole schedule that is still to come.

    From then on every scheduler gives ``factor`` times what it would have given, including warm-ups, peaks and floors,
    and the groups keep their ratios. A learning rate in a tensor (``capturable``) is changed in place.

    Args:
        optimizer: the optimizer whose learning rate is lowered.
        lr: the new learning rate of the group with the highest one; the others follow in proportion.
        factor: instead of ``lr``, the factor for every learning rate, between 0 and 1.
        schedulers: the schedulers of this optimizer, one or several; SequentialLR and ChainedScheduler with all they
            contain.
        groups: indices of the parameter groups to lower; by default all.

    Raises:
        ValueError: the learning rate would not be lower, both or neither of ``lr`` and ``factor`` were given, there is
            no such group, or a scheduler belongs to another optimizer. Nothing was changed then.

    Example:
        >>> import torch, relumine
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.3)
        >>> print(relumine.remedies.lower_learning_rate(optimizer, 0.03).text)
        learning rate 0.3 → 0.03
    """
    optimizer = unwrap_optimizer(optimizer)
    chosen = chosen_groups(optimizer, groups)
    previous = {index: float(optimizer.param_groups[index]["lr"]) for index in chosen}
    factor = _factor(max(previous.values()), lr, factor)
    all_schedulers = tuple(_all_schedulers(schedulers))
    for scheduler in all_schedulers:
        if getattr(scheduler, "optimizer", optimizer).param_groups is not optimizer.param_groups:
            raise ValueError(f"this {type(scheduler).__name__} belongs to another optimizer")
    notes = scale_learning_rates(optimizer, factor, all_schedulers, chosen)
    if not all_schedulers and any("initial_lr" in optimizer.param_groups[index] for index in chosen):
        warnings.warn(NO_SCHEDULER_GIVEN, stacklevel=2)
        notes.append(NO_SCHEDULER_GIVEN)
    return _result(optimizer, previous, all_schedulers, notes)


def scale_learning_rates(
    optimizer: Optimizer, factor: float, schedulers: Schedulers = (), groups: Iterable[int] | None = None
) -> list[str]:
    """Multiply learning rates and what their schedulers still give; return notes on what could not be scaled."""
    chosen = chosen_groups(optimizer, groups)
    _scale_groups(optimizer, chosen, factor)
    scales_all = len(chosen) == len(optimizer.param_groups)
    notes: list[str] = []
    for scheduler in _all_schedulers(schedulers):
        _scale_lists(scheduler, chosen, factor)
        notes += _scale_numbers(scheduler, factor, scales_all=scales_all)
    return notes


def _result(
    optimizer: Optimizer, previous: Mapping[int, float], schedulers: tuple[Any, ...], notes: list[str]
) -> RemedyResult:
    updated = {index: float(optimizer.param_groups[index]["lr"]) for index in previous}
    changes = tuple(Change(f"group {index}", "lr", None, previous[index], updated[index]) for index in previous)
    text = f"learning rate {max(previous.values()):.4g} → {max(updated.values()):.4g}"
    if len(previous) > 1:
        text += f", in {len(previous)} groups"
    if schedulers:
        text += f", and in {', '.join(type(scheduler).__name__ for scheduler in schedulers)}"
    return RemedyResult("lower_learning_rate", max(updated.values()), text, changes, tuple(notes))


def _factor(current: float, lr: float | None, factor: float | None) -> float:
    if (lr is None) == (factor is None):
        raise ValueError("give either lr or factor")
    if lr is not None:
        if not 0 < lr < current:
            raise ValueError(f"{lr} is not lower than the present learning rate {current}")
        factor = lr / current
    if factor is None or not 0 < factor < 1 or not math.isfinite(current):
        raise ValueError(f"factor {factor} is not between 0 and 1")
    return factor


def _all_schedulers(schedulers: Schedulers) -> Iterator[Any]:
    """Yield each scheduler once, also those that others contain."""
    visited: dict[int, Any] = {}
    pending = list(schedulers) if isinstance(schedulers, Iterable) else [schedulers]
    while pending:
        scheduler = pending.pop(0)
        if id(scheduler) in visited:
            continue
        visited[id(scheduler)] = scheduler
        pending += getattr(scheduler, "_schedulers", ())
        inner = getattr(scheduler, "scheduler", None)  # in the wrapper of Accelerate
        if inner is not None:
            pending.append(inner)
    yield from visited.values()


def _scale_groups(optimizer: Optimizer, chosen: Iterable[int], factor: float) -> None:
    scaled_tensors: set[int] = set()
    for index in chosen:
        group = optimizer.param_groups[index]
        lr = group["lr"]
        if not isinstance(lr, Tensor):
            group["lr"] = lr * factor
        elif id(lr) not in scaled_tensors:  # groups may share one tensor
            scaled_tensors.add(id(lr))
            lr.mul_(factor)
        for key in GROUP_KEYS:
            if isinstance(group.get(key), (float, int, Tensor)):
                group[key] = group[key] * factor


def _scale_lists(scheduler: Any, chosen: tuple[int, ...], factor: float) -> None:
    for name in SCHEDULER_LISTS:
        lrs = vars(scheduler).get(name)
        if isinstance(lrs, (list, tuple)):
            scaled = [lr * factor if index in chosen else lr for index, lr in enumerate(lrs)]
            setattr(scheduler, name, scaled)


def _scale_numbers(scheduler: Any, factor: float, *, scales_all: bool) -> Iterator[str]:
    """Scale the numbers that hold for all groups, if all are scaled; yield notes on those that stay."""
    for name in SCHEDULER_NUMBERS:
        lr = vars(scheduler).get(name)
        if not lr:
            continue
        if scales_all:
            setattr(scheduler, name, lr * factor)
        else:
            yield f"{type(scheduler).__name__}.{name} = {lr:g} applies to all groups and was left unchanged"
