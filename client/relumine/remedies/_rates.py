"""Lowering a learning rate so that it stays lowered: in the optimizer's groups and in what schedulers go by."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from relumine._applied import Applied, Change

Schedulers: TypeAlias = Any | Iterable[Any]

OF_GROUPS = ("initial_lr", "max_lr", "min_lr", "swa_lr")
"""Kept by schedulers in an optimizer's groups: all of them, OneCycleLR, SWALR."""
PER_GROUP = ("base_lrs", "max_lrs", "min_lrs", "_last_lr")
"""Lists in a scheduler, one rate per group: all of them, CyclicLR, ReduceLROnPlateau."""
FOR_ALL = ("eta_min", "default_min_lr")
"""Numbers in a scheduler that hold for all groups: the cosines, ReduceLROnPlateau."""
NOT_GIVEN = "this optimizer has or had a scheduler and none was given: its next step may undo this (schedulers=…)"


def lower_learning_rate(
    optimizer: Optimizer,
    lr: float | None = None,
    *,
    factor: float | None = None,
    schedulers: Schedulers = (),
    groups: Iterable[int] | None = None,
) -> Applied:
    """Lower the learning rate, and with it the whole schedule that is still to come.

    After it every scheduler gives ``factor`` times what it would have given, warm-ups, peaks and floors included, and
    the groups keep their ratios. A rate held in a tensor (``capturable``) is changed in place.

    Args:
        optimizer: whose rate.
        lr: the new rate of the group that has the highest now; the others follow in proportion.
        factor: instead of ``lr``: what every rate is multiplied with, between 0 and 1.
        schedulers: those of this optimizer, one or several; SequentialLR and ChainedScheduler with all inside.
        groups: indices of the parameter groups to lower; by default all.

    Raises:
        ValueError: the rate would not be lower, both or neither of ``lr`` and ``factor`` were given, there is no such
            group, or a scheduler is of another optimizer. Nothing was changed then.

    Example:
        >>> import torch, relumine
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.3)
        >>> print(relumine.remedies.lower_learning_rate(optimizer, 0.03).text)
        learning rate 0.3 → 0.03
    """
    chosen = chosen_groups(optimizer, groups)
    before = {index: float(optimizer.param_groups[index]["lr"]) for index in chosen}
    part = _factor(max(before.values()), lr, factor)
    all_schedulers = tuple(_all_of(schedulers))
    for scheduler in all_schedulers:
        if getattr(scheduler, "optimizer", optimizer).param_groups is not optimizer.param_groups:
            raise ValueError(f"this {type(scheduler).__name__} is of another optimizer")
    notes = scale_rates(optimizer, part, all_schedulers, chosen)
    if not all_schedulers and any("initial_lr" in optimizer.param_groups[index] for index in chosen):
        warnings.warn(NOT_GIVEN, stacklevel=2)
        notes.append(NOT_GIVEN)
    return _applied(optimizer, before, all_schedulers, notes)


def scale_rates(
    optimizer: Optimizer, factor: float, schedulers: Schedulers = (), groups: Iterable[int] | None = None
) -> list[str]:
    """Multiply rates with what their schedulers still give; returns what could not be."""
    chosen = chosen_groups(optimizer, groups)
    _scale_groups(optimizer, chosen, factor)
    notes: list[str] = []
    for scheduler in _all_of(schedulers):
        notes += _scale_scheduler(scheduler, chosen, factor, whole=len(chosen) == len(optimizer.param_groups))
    return notes


def _applied(
    optimizer: Optimizer, before: Mapping[int, float], schedulers: tuple[Any, ...], notes: list[str]
) -> Applied:
    after = {index: float(optimizer.param_groups[index]["lr"]) for index in before}
    changes = tuple(Change(f"group {index}", "lr", None, before[index], after[index]) for index in before)
    changed = [type(scheduler).__name__ for scheduler in schedulers]
    text = f"learning rate {max(before.values()):.4g} → {max(after.values()):.4g}"
    text += f", in {len(before)} groups" if len(before) > 1 else ""
    text += f", and in {', '.join(changed)}" if changed else ""
    return Applied("lower_learning_rate", max(after.values()), text, changes, tuple(notes))


def chosen_groups(optimizer: Optimizer, groups: Iterable[int] | None) -> tuple[int, ...]:
    """The indices of the groups that are meant: by default all.

    Raises:
        ValueError: there is no such group.
    """
    count = len(optimizer.param_groups)
    chosen = tuple(range(count)) if groups is None else tuple(dict.fromkeys(groups))
    if not chosen or any(not 0 <= index < count for index in chosen):
        raise ValueError(f"groups {list(chosen)}: the optimizer has groups 0 to {count - 1}")
    return chosen


def _factor(now: float, lr: float | None, factor: float | None) -> float:
    if (lr is None) == (factor is None):
        raise ValueError("give either lr or factor")
    if factor is None and lr is not None:
        if not 0 < lr < now:
            raise ValueError(f"{lr} is not lower than the present learning rate {now}")
        factor = lr / now
    if factor is None or not 0 < factor < 1 or not math.isfinite(now):
        raise ValueError(f"factor {factor} is not between 0 and 1")
    return factor


def _all_of(schedulers: Schedulers) -> Iterator[Any]:
    """Each scheduler once, with those inside of it."""
    found: dict[int, Any] = {}
    waiting = list(schedulers) if isinstance(schedulers, Iterable) else [schedulers]
    while waiting:
        one = waiting.pop(0)
        if id(one) not in found:
            found[id(one)] = one
            waiting += getattr(one, "_schedulers", ())
            waiting += [inner] if (inner := getattr(one, "scheduler", None)) is not None else []  # accelerate's wrapper
    yield from found.values()


def _scale_groups(optimizer: Optimizer, chosen: Iterable[int], factor: float) -> None:
    done: set[int] = set()
    for index in chosen:
        group = optimizer.param_groups[index]
        rate = group["lr"]
        if not isinstance(rate, Tensor):
            group["lr"] = rate * factor
        elif id(rate) not in done:  # groups may share one tensor
            done.add(id(rate))
            rate.mul_(factor)
        for name in OF_GROUPS:
            if isinstance(group.get(name), (float, int, Tensor)):
                group[name] = group[name] * factor


def _scale_scheduler(scheduler: Any, chosen: tuple[int, ...], factor: float, *, whole: bool) -> Iterator[str]:
    own = vars(scheduler)
    for name in PER_GROUP:
        rates = own.get(name)
        if isinstance(rates, (list, tuple)):
            lowered = [rate * factor if index in chosen else rate for index, rate in enumerate(rates)]
            setattr(scheduler, name, lowered)
    for name in FOR_ALL:
        rate = own.get(name)
        if rate and whole:
            setattr(scheduler, name, rate * factor)
        elif rate:
            yield f"{type(scheduler).__name__}.{name} = {rate:g} holds for all groups and was left as it is"
