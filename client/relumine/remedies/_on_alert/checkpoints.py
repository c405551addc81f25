"""Checkpoints of a training in host memory, dense for recent steps and sparse for earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from relumine._torch.optimizers import max_lr
from relumine.alert_actions import Change
from relumine.remedies._parameter_edit import root_mean_square

MAX_CHECKPOINTS = 8
"""Number of checkpoints. Their ages about double from one to the next, so that they reach back to the first step."""
State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The training after ``step``. ``lr`` is the highest learning rate of the optimizer's groups at that time."""

    step: int
    lr: float
    tensors: State
    optimizer_states: dict[Tensor, State]


class CheckpointHistory:
    """Parameters, buffers and the optimizer's state per parameter, copied to the host every ``interval`` steps.

    Learning rates and other options of the optimizer's groups are not restored, since a remedy has just changed them.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, interval: int) -> None:
        self._model = model
        self._optimizer = optimizer
        self._interval = interval
        self._checkpoints: list[Checkpoint] = []
        self.save_if_due(0)

    def save_if_due(self, step: int) -> None:
        """Save a checkpoint after this step, if the interval has passed."""
        if step % self._interval == 0:
            self._save(step)

    def restart(self, step: int) -> None:
        """Drop all checkpoints and save one: an older one would undo what has just been repaired."""
        self._checkpoints.clear()
        self._save(step)

    def _save(self, step: int) -> None:
        tensors = {name: _host_copy(tensor) for name, tensor in _tensors(self._model)}
        states = {}
        for parameter, state in self._optimizer.state.items():
            states[parameter] = {name: _host_copy(value) for name, value in state.items()}
        self._checkpoints.append(Checkpoint(step, max_lr(self._optimizer), tensors, states))
        if len(self._checkpoints) > MAX_CHECKPOINTS:
            steps = [checkpoint.step for checkpoint in self._checkpoints]
            del self._checkpoints[_least_useful(steps)]

    def restore(self, last_step: int, lr_limit: float | None = None) -> tuple[int, list[Change]] | None:
        """Restore the newest finite checkpoint up to ``last_step`` with a learning rate of at most ``lr_limit``.

        Return its step and the changes; None where there is none. Checkpoints of later steps are dropped.
        """
        checkpoint = self._newest(last_step, lr_limit)
        if checkpoint is None:
            return None
        changes = _restore_model(self._model, checkpoint.tensors)
        for parameter in list(self._optimizer.state):
            _restore_state(self._optimizer.state, parameter, checkpoint.optimizer_states.get(parameter))
        self._checkpoints = [other for other in self._checkpoints if other.step <= checkpoint.step]
        return checkpoint.step, changes

    def _newest(self, last_step: int, lr_limit: float | None) -> Checkpoint | None:
        for checkpoint in reversed(self._checkpoints):
            if checkpoint.step > last_step:
                continue
            if lr_limit is not None and checkpoint.lr > lr_limit:
                continue
            if _is_finite(checkpoint.tensors):
                return checkpoint
        return None


def _least_useful(steps: list[int]) -> int:
    """Return the index of the checkpoint whose neighbors' ages are nearest to each other, as a ratio."""
    ages = [steps[-1] - step + 1 for step in steps]
    return min(range(1, len(steps) - 1), key=lambda index: ages[index - 1] / ages[index + 1])


def _restore_model(model: nn.Module, saved: State) -> list[Change]:
    changes = []
    with torch.no_grad():
        for name, tensor in _tensors(model):
            value = saved.get(name)
            if value is not None and tensor.shape == value.shape and not torch.equal(tensor.cpu(), value):
                changes.append(Change(name, "value", None, root_mean_square(tensor), root_mean_square(value)))
                tensor.copy_(value)
    return changes


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name; lazy layers have none before their first forward."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not is_lazy(tensor):
            yield name, tensor


def _host_copy(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def _is_finite(tensors: State) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point())


def _restore_state(states: dict[Any, State], parameter: Tensor, saved: State | None) -> None:
    """Restore tensors in place, as compiled optimizers need it; remove the state of a parameter that had none."""
    if saved is None:
        del states[parameter]
        return
    state = states[parameter]
    for name, value in saved.items():
        current = state.get(name)
        if isinstance(current, Tensor) and isinstance(value, Tensor) and current.shape == value.shape:
            with torch.no_grad():
                current.copy_(value)
        else:
            state[name] = value
