"""The hooks after an optimizer's step. Nearly all steps are counted here, and cost little more than an empty hook.

The processor runs this code once per step, when the training has driven it out of the caches: what counts is how much
code and how many objects it touches. ``python -m benchmarks.overhead.step_hooks`` measures each part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch.optim import Optimizer

from relumine._torch.compile import skip_in_compiled_code

Hook: TypeAlias = Callable[[Optimizer, tuple[Any, ...], dict[str, Any]], None]

# A learning rate below this multiple of the latest one has not jumped.
SMALLEST_LR_JUMP = 1.5

# Learning rates that are remembered.
LR_WINDOW = 51


@dataclass(eq=False, slots=True)
class StepCount:
    """The steps of a run, and when more is to be done than to count them.

    Attributes:
        step: the steps so far.
        next_call: the step at which the whole work is to be done; 0 for the next one. May be set to 0 in any thread.
        leader: the optimizer whose steps are counted.
        lr: the highest learning rate of the latest step.
        recent_lrs: the latest of them, once per step.
    """

    step: int = 0
    next_call: int = 0
    leader: Optimizer | None = None
    lr: float = 0.0
    recent_lrs: deque[float] = field(default_factory=lambda: deque(maxlen=LR_WINDOW))


def hook_after_steps(  # noqa: C901 - in one piece, since each call would cost as much as an empty hook
    count: StepCount, optimizers: Sequence[Optimizer], on_step: Callable[[Optimizer], None]
) -> Callable[..., None]:
    """Return a hook for one of the optimizers of a run.

    It counts a step of the leader by itself before ``count.next_call``, as long as the highest learning rate of all
    optimizers is a number on the host that did not jump. Every other step it leaves to ``on_step``, which dynamo must
    not trace.
    """
    append = count.recent_lrs.append

    def hook(optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        step = count.step + 1
        if step >= count.next_call or optimizer is not count.leader:
            on_step(optimizer)
            return
        highest = 0.0
        try:
            for member in optimizers:
                for group in member.param_groups:
                    lr = group["lr"]
                    if type(lr) is not float:
                        _check_number(lr)
                    if lr > highest:  # noqa: PLR1730 - as above
                        highest = lr
        except Exception:  # noqa: BLE001 - whatever an optimizer of others holds there, ``on_step`` can deal with it
            on_step(optimizer)
            return
        if highest != count.lr and highest >= SMALLEST_LR_JUMP * count.lr:
            on_step(optimizer)
            return
        count.lr = highest
        append(highest)
        count.step = step

    return skip_in_compiled_code(hook)


def _check_number(lr: object) -> None:
    """Raise TypeError for what is no number on the host."""
    if not isinstance(lr, (float, int)):
        raise TypeError(type(lr).__name__)


def hook_after_steps_of_others(
    counted_ids: Container[int], on_step: Callable[[Optimizer], None]
) -> Callable[..., None]:
    """Return a hook for all optimizers, which leaves the steps of those that are not counted to ``on_step``."""

    def hook(optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if id(optimizer) not in counted_ids:
            on_step(optimizer)

    return skip_in_compiled_code(hook)
