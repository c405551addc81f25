"""What really is dead: by a forward of a copy of the model over the entire training set, which the SDK never sees.

A unit is dead at a step when its pre-activation is <= 0 for every example (and every position) of the set.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

GRID = 10
"""Steps between two measurements …"""
SUDDEN = 0.15
"""… unless this share of a layer died or came back in between: then every step of them is measured."""
RELUS = frozenset({"relu", "relu_", "clamp", "clamp_min"})
OTHERS = frozenset({"leaky_relu", "gelu"})


class Activations(TorchFunctionMode):
    """Within its block, ``seen`` gathers (can it die, pre-activation) of every activation, in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in RELUS or name in OTHERS:
            self.seen.append((name in RELUS, args[0]))
        return func(*args, **(kwargs or {}))


def outside(model: nn.Module) -> nn.Module:
    """A copy to measure with: dropout off, BatchNorm on the statistics of what it is given."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    return twin


def forward(model: nn.Module, x: Tensor) -> tuple[Tensor, list[tuple[bool, Tensor]]]:
    """The answer to everything, and the pre-activations on the way to it."""
    with torch.no_grad(), Activations() as activations:
        return model(x), activations.seen


def dead_units(model: nn.Module, x: Tensor) -> list[Flags]:
    """Per activation the units that no example fires; of one that cannot die, none. Shape (units,) each."""
    found = []
    for can_die, z in forward(model, x)[1]:
        units = 1 if z.dim() == 4 else z.dim() - 1
        others = [dim for dim in range(z.dim()) if dim != units]
        found.append((z <= 0).amin(others).numpy().astype(bool) & can_die)
    return found


@dataclass
class Truth:
    """Dead units over time: ``dead[layer]`` has shape (points, units), ``steps`` (points,) updates done before each."""

    steps: list[int] = field(default_factory=list)
    dead: list[list[Flags]] = field(default_factory=list)

    def add(self, step: int, flags: list[Flags]) -> None:
        """One more point."""
        self.steps.append(step)
        self.dead.append(flags)


class Watcher:
    """Measures on a grid, and in between where much changed. ``whole(step)`` is the set as it is after that step."""

    def __init__(self, model: nn.Module, whole: Callable[[int], Tensor]) -> None:
        self.truth = Truth()
        self._model, self._whole = model, whole
        self._copy = outside(model)
        self._past: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=GRID - 1)

    def see(self, step: int, *, last: bool = False) -> None:
        """Called before the first step (0) and after every one."""
        if step % GRID and not last:
            self._past.append((step, {name: value.clone() for name, value in self._model.state_dict().items()}))
            return
        now = self._measure(step, self._model.state_dict())
        if self.truth.dead and _changed(self.truth.dead[-1], now):
            for between, weights in self._past:
                self.truth.add(between, self._measure(between, weights))
        self.truth.add(step, now)
        self._past.clear()

    def _measure(self, step: int, weights: dict[str, Tensor]) -> list[Flags]:
        self._copy.load_state_dict(weights)
        return dead_units(self._copy, self._whole(step))


def _changed(before: list[Flags], now: list[Flags]) -> bool:
    return any(abs(float(a.mean()) - float(b.mean())) >= SUDDEN for a, b in zip(before, now, strict=True))


def lost_shares(truth: Truth, layer: int, alive: Flags) -> list[float]:
    """Share of the units ``alive`` (those of the healthy start) that are dead at each point."""
    return [float(flags[layer][alive].mean()) if alive.any() else 0.0 for flags in truth.dead]


def collapse(steps: list[int], shares: list[float]) -> int | None:
    """The first step with at least half of the units dead, from which on it stays so to the end."""
    at = None
    for step, share in zip(steps, shares, strict=True):
        at = (step if at is None else at) if share >= 0.5 else None
    return at
