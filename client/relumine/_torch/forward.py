"""Forwards: run a model without a lasting effect on it, and tell a forward from its recomputation."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

Batch: TypeAlias = Tensor | tuple[Any, ...] | Mapping[str, Any]
Inputs: TypeAlias = Batch | Iterable[Batch]


class Observer(Protocol):
    """Hooks that record forwards of the training."""

    def suspend(self) -> bool:
        """Stop recording; return False if nothing is recorded now."""
        ...

    def resume(self) -> None:
        """Go on recording."""
        ...


_observers: weakref.WeakSet[Observer] = weakref.WeakSet()


def register_observer(observer: Observer) -> None:
    """Have ``observer`` suspended during forwards that are no part of the training. It is held weakly."""
    _observers.add(observer)


@contextmanager
def suspend_observers() -> Iterator[None]:
    """Keep a forward of the SDK's own (a remedy, a check) out of every monitor's records.

    The monitors' measurements would also look like calls of the model itself to what such a forward traces.
    """
    suspended = [observer for observer in list(_observers) if observer.suspend()]
    try:
        yield
    finally:
        for observer in suspended:
            observer.resume()


@contextmanager
def preserve_model_state(model: nn.Module) -> Iterator[None]:
    """Run the model for the SDK's own ends: no monitor records it, and nothing of it lasts.

    Modes, buffers (BatchNorm's running statistics) and the state of the random generators are restored on exit.
    """
    with suspend_observers(), _restore_model_state(model):
        yield


@contextmanager
def _restore_model_state(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])


def batches_of(inputs: Inputs) -> tuple[Batch, ...]:
    """Return the batches: ``inputs`` itself if it is one, else its items.

    A batch is a tensor, a tuple of arguments or a mapping of keyword arguments.

    Raises:
        ValueError: there is no batch.
        TypeError: an item is not a batch.
    """
    batches = (inputs,) if isinstance(inputs, (Tensor, tuple, Mapping)) else tuple(inputs)
    if not batches:
        raise ValueError("the inputs hold no batch")
    for batch in batches:
        if not isinstance(batch, (Tensor, tuple, Mapping)):
            raise TypeError(
                f"a batch is a tensor, a tuple of arguments or a mapping of keyword arguments, not a "
                f"{type(batch).__name__}; of a loader that gives pairs pass (x for x, _ in loader)"
            )
    return batches


def call_model(model: nn.Module, batch: Batch) -> Any:
    """Return the output of the model for one batch."""
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple):
        return model(*batch)
    return model(batch)


def is_backward_running() -> bool:
    """Return True while autograd runs: a forward is then a recomputation by activation checkpointing."""
    # torch has no public query for it; its own ModuleTracker asks in the same way.
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - see above
