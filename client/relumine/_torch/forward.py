"""Forwards: run a model without a lasting effect on it, and tell a forward from its recomputation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Batch: TypeAlias = Tensor | tuple[Any, ...] | Mapping[str, Any]
Inputs: TypeAlias = Batch | Iterable[Batch]


@contextmanager
def preserve_model_state(model: nn.Module) -> Iterator[None]:
    """Restore modes, buffers (BatchNorm's running statistics) and the state of the random generators on exit."""
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
