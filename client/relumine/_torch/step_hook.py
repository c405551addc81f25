"""The hook after the steps of all optimizers. It counts nearly all of them at little more than an empty hook costs.

The processor runs this code once per step, when the training has driven it out of the caches: what counts is how much
code and how many objects it touches. ``python -m benchmarks.overhead.step_hooks`` measures each part.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeAlias

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from relumine._torch.compile import skip_in_compiled_code

Hook: TypeAlias = Callable[[Optimizer, tuple[Any, ...], dict[str, Any]], None]

# The code in which torch runs the step of an optimizer and then its hooks.
STEP_CODE = Optimizer.profile_hook_step(print).__code__

# A learning rate below this multiple of the latest one has not jumped.
SMALLEST_LR_JUMP = 1.5

# Learning rates that are remembered.
LR_WINDOW = 51


# Hooks that were to be removed while torch iterated over them.
_emptied: list[RemovableHandle] = []


@dataclass(eq=False, slots=True, weakref_slot=True)
class StepCount:
    """The steps of a run, and when more is to be done than to count them.

    Attributes:
        step: the steps so far.
        next_call: the step at which the whole work is to be done; 0 for the next one. May be set to 0 in any thread.
        leader: the optimizer whose steps are counted.
        optimizers: those whose learning rates are read; the list changes in place.
        lr: the highest learning rate of the latest step.
        recent_lrs: the latest of them, once per step.
    """

    step: int = 0
    next_call: int = 0
    leader: Optimizer | None = None
    optimizers: list[Optimizer] = field(default_factory=list)
    lr: float = 0.0
    recent_lrs: deque[float] = field(default_factory=lambda: deque(maxlen=LR_WINDOW))


def hook_after_steps(count: StepCount, on_step: Callable[[Optimizer], None]) -> Hook:  # noqa: C901 - see below
    """Return a hook for the steps of all optimizers. It holds ``count`` weakly, and with it the optimizers.

    It counts a step of the leader by itself before ``count.next_call``, as long as the highest learning rate of all
    optimizers of the run is a number on the host that did not jump. Every other step, of whatever optimizer, it leaves
    to ``on_step``, which dynamo must not trace.
    """
    reference = weakref.ref(count)

    # In one piece, since each call would cost as much as an empty hook.
    def hook(optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        count = reference()
        if count is None:
            return
        step = count.step + 1
        is_usual = optimizer is count.leader and step < count.next_call
        highest = 0.0
        try:
            for member in count.optimizers if is_usual else ():
                for group in member.param_groups:
                    lr = group["lr"]
                    if type(lr) is not float:
                        _check_number(lr)
                    if lr > highest:  # noqa: PLR1730 - as above
                        highest = lr
            is_usual = is_usual and (highest == count.lr or highest < SMALLEST_LR_JUMP * count.lr)
        except Exception:  # noqa: BLE001 - whatever an optimizer of others holds there, ``on_step`` can deal with it
            is_usual = False
        if not is_usual:
            on_step(optimizer)
            return
        count.lr = highest
        count.recent_lrs.append(highest)
        count.step = step

    return skip_in_compiled_code(hook)


def _check_number(lr: object) -> None:
    """Raise TypeError for what is no number on the host."""
    if not isinstance(lr, (float, int)):
        raise TypeError(type(lr).__name__)


def register_hook(hook: Hook) -> RemovableHandle:
    """Register a hook after the steps of all optimizers of the process."""
    _remove_emptied()
    return register_optimizer_step_post_hook(hook)


def remove_hook(handle: RemovableHandle) -> None:
    """Remove a hook that ``register_hook`` returned the handle of.

    Inside of a step torch iterates over the hooks, and removing one would raise in the training: then it is replaced
    by one that does nothing, until hooks are registered or removed outside of a step.
    """
    hooks = handle.hooks_dict_ref()
    if hooks is None or handle.id not in hooks:
        return
    if len(hooks) > 1:  # the iteration ends at the only one, whether it is still there or not
        hooks[handle.id] = _do_nothing
        _emptied.append(handle)
        _remove_emptied()
    else:
        handle.remove()


def _remove_emptied() -> None:
    if _is_inside_of_a_step():
        return
    while _emptied:
        _emptied.pop().remove()


def _do_nothing(*_: object) -> None:
    """Stand in for a hook that was removed."""


def _is_inside_of_a_step() -> bool:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - torch has no public query for it
    while frame is not None and frame.f_code is not STEP_CODE:
        frame = frame.f_back
    return frame is not None
