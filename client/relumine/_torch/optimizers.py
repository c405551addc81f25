"""Optimizers: found in whatever wraps them; their learning rates and parameter groups."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

# Wrappers around wrappers that are looked into.
MAX_WRAPPERS = 6
# Names under which wrappers keep what they wrap. Only for those that hide it behind a property: others need no name.
WRAPPED_NAMES = (
    "optimizer",
    "optimizers",
    "base_optimizer",
    "original_optimizer",
    "inner_optimizer",
    "wrapped_optimizer",
    "optimizer_",
    "optim",
    "opt",
    "base",
)


def completed_steps(optimizers: Iterable[Optimizer]) -> int:
    """Return the highest step count in the optimizers' states.

    Optimizers without a count, as SGD, and counts held on an accelerator are skipped: reading one would wait for the
    device. 0 if there is no other.
    """
    highest = 0
    for optimizer in optimizers:
        for state in optimizer.state.values():
            step = state.get("step", 0)
            if not isinstance(step, Tensor) or step.device.type == "cpu":
                highest = max(highest, int(step))
    return highest


def find_optimizers(source: object) -> list[Optimizer]:
    """Return the torch optimizers that really step in ``source``, each once; none if there is none.

    ``source`` is an optimizer, a wrapper of any kind around one or several (SAM, LARC, Noam, and those of Accelerate,
    Lightning, Opacus, fastai, skorch), a scheduler, a bound method, or a list or dict of these. Of optimizers
    that wrap each other the innermost is returned: its step is the one that is made.
    """
    by_id = {id(optimizer): optimizer for optimizer in _search(source, {}, MAX_WRAPPERS)}
    return list(by_id.values())


def unwrap_optimizer(optimizer: object) -> Optimizer:
    """Return the one optimizer in whatever wraps it.

    Raises:
        TypeError: there is none.
        ValueError: there are several.
    """
    optimizers = find_optimizers(optimizer)
    if not optimizers and isinstance(optimizer, Optimizer):
        return optimizer
    if not optimizers:
        raise TypeError(f"a {type(optimizer).__name__} holds no torch optimizer")
    if len(optimizers) > 1:
        raise ValueError(f"this {type(optimizer).__name__} holds {len(optimizers)} optimizers: pass one of them")
    return optimizers[0]


def parameter_ids(optimizer: Optimizer) -> set[int]:
    """Return the ids of the parameters in the optimizer's groups."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def share_parameters(first: Optimizer, second: Optimizer) -> bool:
    """Return True if a parameter is in a group of both optimizers."""
    return not parameter_ids(first).isdisjoint(parameter_ids(second))


def _search(source: object, visited: dict[int, object], depth: int) -> list[Optimizer]:
    if id(source) in visited or not depth:
        return []
    visited[id(source)] = source
    inner: list[Optimizer] = []
    for member in _members(source):
        inner += _search(member, visited, depth - 1)
    if not isinstance(source, Optimizer) or not _runs_hooks(source):
        return inner
    # An optimizer that wraps others (SAM, Lookahead) trains their parameters. One that knows of others does not.
    wrapped = [optimizer for optimizer in inner if share_parameters(optimizer, source)]
    return wrapped or [source]


def _runs_hooks(optimizer: Optimizer) -> bool:
    """Return True if torch calls hooks after its steps; not for a subclass that does not call torch's ``__init__``."""
    return "_optimizer_step_post_hooks" in vars(optimizer) and bool(getattr(type(optimizer).step, "hooked", False))


def _members(source: object) -> list[object]:
    """Return what may be or hold an optimizer in ``source``. Code of others runs only where there is no other way."""
    if isinstance(source, Mapping):
        return list(source.values())
    if isinstance(source, functools.partial):
        return [source.func, *source.args, *source.keywords.values()]
    if isinstance(source, MethodType):
        return [source.__self__]
    if isinstance(source, (type, FunctionType, str, bytes, Tensor)):
        return []
    if isinstance(source, Iterable) and not _has_step(source) and not isinstance(source, nn.Module):
        return list(source)
    return _wrapped(source)


def _wrapped(source: object) -> list[object]:
    """Return the optimizers, and what may wrap one, among the attributes of an object."""
    members = [value for value in _attributes(source) if _may_hold_optimizer(value)]
    if members or (isinstance(source, Optimizer) and _runs_hooks(source)):
        return members
    # It hides them behind a property, or forwards the attributes of another object.
    values = [_attribute(source, name) for name in WRAPPED_NAMES]
    return [value for value in values if _may_hold_optimizer(value)]


def _attributes(source: object) -> list[object]:
    """Return the values in an object's dict and slots; of an optimizer those that are not torch's own."""
    names = [name for name in getattr(source, "__dict__", ()) if not isinstance(source, Optimizer) or name != "state"]
    values = [vars(source)[name] for name in names]
    for kind in type(source).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            values.append(_attribute(source, name))
    return values


def _attribute(source: object, name: str) -> object:
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a property of others may raise anything
        return None


def _may_hold_optimizer(value: object) -> bool:
    """Return True for an optimizer, for an object with a ``step`` that may wrap one, and for containers of these."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_step(item) for item in value)
    return _has_step(value)


def _has_step(value: object) -> bool:
    return not isinstance(value, (type, nn.Module)) and callable(getattr(type(value), "step", None))


def readable_lrs(groups: Iterable[dict[str, Any]]) -> tuple[float, ...]:
    """Return the learning rates of parameter groups; skips those that have none, as Adafactor.

    Those on an accelerator are skipped, too: reading one would wait for it.
    """
    rates = []
    for group in groups:
        lr = group.get("lr")
        if lr is not None and (not isinstance(lr, Tensor) or lr.device.type == "cpu"):
            rates.append(float(lr))
    return tuple(rates)


def highest_readable_lr(optimizers: Iterable[Optimizer]) -> float | None:
    """Return the highest learning rate of all parameter groups; None where none is readable."""
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    return max(readable_lrs(groups), default=None)


def max_lr(optimizer: Optimizer) -> float:
    """Return the highest learning rate of an optimizer's parameter groups."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def find_param_group(optimizers: Iterable[Optimizer], parameter: object) -> tuple[Optimizer, int] | None:
    """Return the optimizer and the index of the group that hold a parameter, or None."""
    for optimizer in optimizers:
        for index, group in enumerate(optimizer.param_groups):
            if any(member is parameter for member in group["params"]):
                return optimizer, index
    return None


def chosen_groups(optimizer: Optimizer, groups: Iterable[int] | None) -> tuple[int, ...]:
    """Return the indices of the parameter groups in ``groups`` without repetition; None stands for all.

    Raises:
        ValueError: there is no such group.
    """
    count = len(optimizer.param_groups)
    indices = tuple(range(count)) if groups is None else tuple(dict.fromkeys(groups))
    if not indices or any(not 0 <= index < count for index in indices):
        raise ValueError(f"groups {list(indices)}: the optimizer has groups 0 to {count - 1}")
    return indices
