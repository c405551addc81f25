"""The ground truth: units that are dead on the entire training set, measured on a copy of the model beside the SDK.

A unit is dead at a step if its pre-activation is <= 0 for every example (and every position) of the set.
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
OTHER_ACTIVATIONS = frozenset({"leaky_relu", "gelu"})


class ActivationRecorder(TorchFunctionMode):
    """Within its block, collects (can it die, pre-activation) of every activation, in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.activations: list[tuple[bool, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in RELUS or name in OTHER_ACTIVATIONS:
            self.activations.append((name in RELUS, args[0]))
        return func(*args, **(kwargs or {}))


def measuring_copy(model: nn.Module) -> nn.Module:
    """Return a copy to measure with: dropout off, BatchNorm on the statistics of its input."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return twin


def forward(model: nn.Module, x: Tensor) -> tuple[Tensor, list[tuple[bool, Tensor]]]:
    """Return the output, and (can it die, pre-activation) of every activation."""
    with torch.no_grad(), ActivationRecorder() as recorder:
        return model(x), recorder.activations


def dead_units(model: nn.Module, x: Tensor) -> list[Flags]:
    """Return per activation the units that no example activates, shape (units,) each; none if it cannot die."""
    flags = []
    _output, activations = forward(model, x)
    for can_die, z in activations:
        unit_dim = 1 if z.dim() == 4 else z.dim() - 1
        others = [dim for dim in range(z.dim()) if dim != unit_dim]
        flags.append((z <= 0).amin(others).numpy().astype(bool) & can_die)
    return flags


@dataclass
class GroundTruth:
    """Dead units over time: ``dead[point][layer]`` has shape (units,), ``steps[point]`` are the updates before it."""

    steps: list[int] = field(default_factory=list)
    dead: list[list[Flags]] = field(default_factory=list)

    def add(self, step: int, flags: list[Flags]) -> None:
        """Add a point."""
        self.steps.append(step)
        self.dead.append(flags)


class GroundTruthRecorder:
    """Measures on a grid of steps, and between its points where much changed.

    ``inputs_after(step)`` is the training set as it is after that step.
    """

    def __init__(self, model: nn.Module, inputs_after: Callable[[int], Tensor]) -> None:
        self.truth = GroundTruth()
        self._model = model
        self._inputs_after = inputs_after
        self._copy = measuring_copy(model)
        self._weights_between: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=GRID - 1)

    def record(self, step: int, *, is_last: bool = False) -> None:
        """Record a step; called before the first one (0) and after every one."""
        if step % GRID and not is_last:
            weights = {name: value.clone() for name, value in self._model.state_dict().items()}
            self._weights_between.append((step, weights))
            return
        flags = self._measure(step, self._model.state_dict())
        if self.truth.dead and _changed_suddenly(self.truth.dead[-1], flags):
            for between, weights in self._weights_between:
                self.truth.add(between, self._measure(between, weights))
        self.truth.add(step, flags)
        self._weights_between.clear()

    def _measure(self, step: int, weights: dict[str, Tensor]) -> list[Flags]:
        self._copy.load_state_dict(weights)
        return dead_units(self._copy, self._inputs_after(step))


def _changed_suddenly(previous: list[Flags], current: list[Flags]) -> bool:
    pairs = zip(previous, current, strict=True)
    return any(abs(float(old.mean()) - float(new.mean())) >= SUDDEN for old, new in pairs)


def lost_shares(truth: GroundTruth, layer: int, alive: Flags) -> list[float]:
    """Return the share of the units ``alive`` that are dead at each point."""
    return [float(flags[layer][alive].mean()) if alive.any() else 0.0 for flags in truth.dead]


def collapse_step(steps: list[int], shares: list[float]) -> int | None:
    """Return the first step from which at least half of the units are dead until the end."""
    collapse = None
    for step, share in zip(steps, shares, strict=True):
        if share < 0.5:
            collapse = None
        elif collapse is None:
            collapse = step
    return collapse
