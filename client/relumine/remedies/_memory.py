"""What a training remembers for its remedies: the inputs of its last forwards, and how it was some steps ago."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from relumine._applied import Change
from relumine.remedies._survey import Batch
from relumine.views import Alert

REMEMBERED = 8
"""Training forwards whose inputs are kept: of one alone, a unit that is merely rare would look dead."""
COPIES = 4
"""Copies of the training that are kept; the oldest gives way."""
State: TypeAlias = dict[str, Any]


class Memory:
    """Remembers, without copying it, what the last training forwards took. A copied or pickled model has none of it."""

    def __init__(self) -> None:
        self._last: deque[tuple[tuple[Any, ...], dict[str, Any]]] = deque(maxlen=REMEMBERED)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The hook."""
        if module.training and torch.is_grad_enabled():
            self._last.append((args, kwargs))

    def batches(self, model: nn.Module) -> list[Batch]:
        """All that are remembered, the newest last."""
        return [_as_batch(model, args, kwargs) for args, kwargs in self._last]

    def __deepcopy__(self, _memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


def _as_batch(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
    if not kwargs:
        return args
    named = inspect.signature(model.forward).bind(*args, **kwargs)
    return {**dict(named.arguments), **kwargs} if args else kwargs


class Copies:
    """Parameters, buffers and the optimizer's state per parameter, copied to the host every ``every`` steps.

    Learning rates and other options of the optimizer's groups are not among it: they are what a remedy has changed.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, every: int) -> None:
        self._model, self._optimizer, self._every = model, optimizer, every
        self._kept: deque[tuple[int, State, dict[Tensor, State]]] = deque(maxlen=COPIES)
        self.keep(0)

    def keep(self, step: int) -> None:
        """Copy what there is after this step, if its turn has come."""
        if step % self._every == 0:
            tensors = {name: _copied(one) for name, one in _tensors(self._model)}
            states = {
                parameter: {name: _copied(one) for name, one in state.items()}
                for parameter, state in self._optimizer.state.items()
            }
            self._kept.append((step, tensors, states))

    def go_back(self, before: int) -> tuple[int, list[Change]] | None:
        """Take the newest copy of a step up to ``before`` that is finite; its step and the changes, None without one.

        Copies of later steps are forgotten.
        """
        usable = [kept for kept in self._kept if kept[0] <= before and _finite(kept[1])]
        if not usable:
            return None
        step, tensors, states = usable[-1]
        changes = [
            Change(name, "value", None, _size(one), _size(tensors[name]))
            for name, one in _tensors(self._model)
            if name in tensors and one.shape == tensors[name].shape and not torch.equal(one.cpu(), tensors[name])
        ]
        with torch.no_grad():
            for name, one in _tensors(self._model):
                if name in tensors and one.shape == tensors[name].shape:
                    one.copy_(tensors[name])
        for parameter in list(self._optimizer.state):
            _give_back(self._optimizer.state, parameter, states.get(parameter))
        self._kept = deque((kept for kept in self._kept if kept[0] <= step), maxlen=COPIES)
        return step, changes


def before(alert: Alert, heard: int, patience: int) -> int:
    """A step that lies before the trouble, counted like ``heard``, the one after which the alert was heard.

    A patience before the rate changed, or three before the alert where it did not.
    """
    changed_at = (alert.evidence.get("learning_rate") or {}).get("changed_at_step")
    ago = 2 * patience if changed_at is None else max(0, alert.opened_step - changed_at)
    return max(0, heard - ago - patience)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that are there: lazy layers have none before their first forward."""
    for name, one in (*model.named_parameters(), *model.named_buffers()):
        if not is_lazy(one):
            yield name, one


def _copied(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def _finite(tensors: State) -> bool:
    return all(bool(one.isfinite().all()) for one in tensors.values() if one.is_floating_point())


def _size(tensor: Tensor) -> float:
    """Root of the mean square."""
    return float(tensor.detach().double().square().mean().sqrt())


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
