"""How a training was some steps ago: copies of it, near ones and far ones, and the way back to one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from relumine._applied import Change
from relumine.remedies._held import highest
from relumine.remedies._work import root_mean_square

COPIES = 8
"""Copies that are kept. Their ages about double from one to the next, so that they reach back to the first step."""
State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Copy:
    """The training after ``step``, which was made at ``rate``, the highest of the optimizer's groups."""

    step: int
    rate: float
    tensors: State
    states: dict[Tensor, State]


class Copies:
    """Parameters, buffers and the optimizer's state per parameter, copied to the host every ``every`` steps.

    Learning rates and other options of the optimizer's groups are not given back: they are what a remedy has changed.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, every: int) -> None:
        self._model, self._optimizer, self._every = model, optimizer, every
        self._kept: list[Copy] = []
        self.keep(0)

    def keep(self, step: int) -> None:
        """Copy what there is after this step, if its turn has come."""
        if step % self._every == 0:
            self._keep(step)

    def begin_anew(self, step: int) -> None:
        """Forget all copies and take one: what was repaired would be undone by an older one."""
        self._kept.clear()
        self._keep(step)

    def _keep(self, step: int) -> None:
        tensors = {name: _copied(one) for name, one in _tensors(self._model)}
        states = {
            parameter: {name: _copied(one) for name, one in state.items()}
            for parameter, state in self._optimizer.state.items()
        }
        self._kept.append(Copy(step, highest(self._optimizer), tensors, states))
        if len(self._kept) > COPIES:
            del self._kept[_spare([kept.step for kept in self._kept])]

    def go_back(self, before: int, rate: float | None = None) -> tuple[int, list[Change]] | None:
        """Take the newest copy that is finite, of a step up to ``before``, and made at most at ``rate``.

        Returns its step and the changes, None where there is no such copy. Copies of later steps are forgotten.
        """
        usable = [
            kept
            for kept in self._kept
            if kept.step <= before and (rate is None or kept.rate <= rate) and _finite(kept.tensors)
        ]
        if not usable:
            return None
        back = usable[-1]
        changes = _write_back(self._model, back.tensors)
        for parameter in list(self._optimizer.state):
            _give_back(self._optimizer.state, parameter, back.states.get(parameter))
        self._kept = [kept for kept in self._kept if kept.step <= back.step]
        return back.step, changes


def _spare(steps: list[int]) -> int:
    """Which of the copies is missed least: the one whose neighbours' ages are nearest to each other, as a ratio."""
    ages = [steps[-1] - step + 1 for step in steps]
    return min(range(1, len(steps) - 1), key=lambda at: ages[at - 1] / ages[at + 1])


def _write_back(model: nn.Module, kept: State) -> list[Change]:
    changes = []
    with torch.no_grad():
        for name, one in _tensors(model):
            if name in kept and one.shape == kept[name].shape and not torch.equal(one.cpu(), kept[name]):
                changes.append(Change(name, "value", None, root_mean_square(one), root_mean_square(kept[name])))
                one.copy_(kept[name])
    return changes


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that are there: lazy layers have none before their first forward."""
    for name, one in (*model.named_parameters(), *model.named_buffers()):
        if not is_lazy(one):
            yield name, one


def _copied(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def _finite(tensors: State) -> bool:
    return all(bool(one.isfinite().all()) for one in tensors.values() if one.is_floating_point())


def _give_back(states: dict[Any, State], parameter: Tensor, kept: State | None) -> None:
    """Tensors in place, as compiled optimizers want it; a parameter that had no state then has none again."""
    if kept is None:
        del states[parameter]
        return
    state = states[parameter]
    for name, one in kept.items():
        now = state.get(name)
        if isinstance(now, Tensor) and isinstance(one, Tensor) and now.shape == one.shape:
            with torch.no_grad():
                now.copy_(one)
        else:
            state[name] = one
