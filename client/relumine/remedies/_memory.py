"""What a training remembers for its remedies: the inputs of its last forwards."""

from __future__ import annotations

import inspect
from collections import deque
from typing import Any

import torch
from torch import nn

from relumine.remedies._survey import Batch

REMEMBERED = 8
"""Training forwards whose inputs are kept: of one alone, a unit that is merely rare would look dead."""


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
