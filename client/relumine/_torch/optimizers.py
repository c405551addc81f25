"""Optimizers: the steps of a run, learning rates and parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


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


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside the wrappers of Accelerate and Lightning, which do not call step hooks."""
    inner = getattr(optimizer, "optimizer", None)
    return unwrap_optimizer(inner) if isinstance(inner, Optimizer) else optimizer


class StepCounter:
    """Calls ``on_step`` once per step of the run: at each step of the leading optimizer.

    Several optimizers that step in turn (a GAN, an encoder and a decoder) make one step of the run per round. Where an
    optimizer steps twice without a step of the leader between (more critic steps, a phase that trains another part),
    it becomes the leader.
    """

    def __init__(self, optimizers: Sequence[Optimizer], on_step: Callable[[], None]) -> None:
        self._on_step = on_step
        self._leader = 0
        self._steps_since_leader = [0] * len(optimizers)
        self._handles = []
        for index, optimizer in enumerate(optimizers):
            hook = self._single_hook() if len(optimizers) == 1 else self._shared_hook(index)
            self._handles.append(optimizer.register_step_post_hook(hook))

    def stop(self) -> None:
        """Remove the hooks from the optimizers."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _single_hook(self) -> Callable[..., None]:
        on_step = self._on_step

        def hook(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            on_step()

        return hook

    def _shared_hook(self, index: int) -> Callable[..., None]:
        def hook(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            self._count(index)

        return hook

    def _count(self, index: int) -> None:
        self._steps_since_leader[index] += 1
        if index != self._leader and self._steps_since_leader[index] < 2:
            return
        self._leader = index
        self._steps_since_leader = [0] * len(self._steps_since_leader)
        self._on_step()


def readable_lrs(groups: Iterable[dict[str, Any]]) -> tuple[float, ...]:
    """Return the learning rates of parameter groups; skips those on an accelerator, to read which would wait for it."""
    rates = []
    for group in groups:
        lr = group["lr"]
        if not isinstance(lr, Tensor) or lr.device.type == "cpu":
            rates.append(float(lr))
    return tuple(rates)


def highest_readable_lr(optimizers: Iterable[Optimizer]) -> float | None:
    """Return the highest learning rate of all parameter groups; skips those on an accelerator. Called on every step."""
    highest = None
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            lr = group["lr"]
            if type(lr) is not float:
                if isinstance(lr, Tensor) and lr.device.type != "cpu":
                    continue
                lr = float(lr)
            if highest is None or lr > highest:
                highest = lr
    return highest


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
