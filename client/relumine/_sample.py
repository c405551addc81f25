"""What leaves the training thread: one sampled step, a logged number. Values; tensors in them may still be computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from relumine._sentinels import Seen
from relumine._site import Snapshot
from relumine.wire import LoggedNumber

Number: TypeAlias = float | Tensor


@dataclass(frozen=True, slots=True)
class Logged:
    """A number the training logged; a tensor is read in the sender's thread, where waiting harms nobody."""

    step: int
    name: str
    value: Number

    @property
    def size(self) -> int:
        """Bytes that wait with it, roughly."""
        return 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled step of all layers. ``silent`` are layers that fell silent to the hooks, ``marks`` resets since."""

    step: int
    layers: tuple[Snapshot, ...]
    sentinels: Seen
    learning_rates: tuple[float, ...]
    loss: Number | None
    silent: tuple[int, ...] = ()
    marks: int = 0
    arrived: tuple[torch.cuda.Event, ...] = ()
    """Of an accelerator: to be waited for, away from the training thread, before a tensor is read."""

    @property
    def size(self) -> int:
        """Bytes that wait with it, roughly: the matrices, parts of weights, and what tensors are made of."""
        return sum(layer.matrix.nbytes + (25_000 if layer.weights else 0) + 4_000 for layer in self.layers) + 4_000


def number_of(logged: Logged) -> dict[str, Any] | None:
    """The number for the wire; None where it is not finite. Raises ValueError for a name that cannot be sent."""
    value = float(logged.value)
    if not math.isfinite(value):
        return None
    return LoggedNumber(step=logged.step, name=logged.name, value=value).model_dump()
