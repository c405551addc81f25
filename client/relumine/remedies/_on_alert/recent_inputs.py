"""The inputs of a training's last forwards, for remedies that run the model on them."""

from __future__ import annotations

import inspect
from collections import deque
from typing import Any

import torch
from torch import nn

from relumine._torch.forward import Batch

MAX_BATCHES = 8
"""Number of training forwards whose inputs are kept: on one alone a rarely active unit would look dead."""


class RecentInputs:
    """References to the inputs of the last training forwards. A copied or pickled model carries none of them."""

    def __init__(self) -> None:
        self._last: deque[tuple[tuple[Any, ...], dict[str, Any]]] = deque(maxlen=MAX_BATCHES)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the inputs, as a hook before the model's forward."""
        if module.training and torch.is_grad_enabled():
            self._last.append((args, kwargs))

    def batches(self, model: nn.Module) -> list[Batch]:
        """Return the inputs as batches, the newest last."""
        return [_as_batch(model, args, kwargs) for args, kwargs in self._last]

    def __deepcopy__(self, _memo: dict[int, Any]) -> RecentInputs:
        return RecentInputs()

    def __reduce__(self) -> tuple[type[RecentInputs], tuple[()]]:
        return RecentInputs, ()


def _as_batch(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
    if not kwargs:
        return args
    if not args:
        return kwargs
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    return {**dict(bound.arguments), **kwargs}
