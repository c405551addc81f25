"""Counts of forwards: of those captured on a sampled step, and of those that run while none is sampled."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from relumine._capture.step_stats import SampledForwards
from relumine._torch.modules import ModuleNames


@dataclass(slots=True)
class ForwardActivity:
    """The forwards of the step being sampled; see ``SampledForwards``."""

    forwards: int = 0
    trained: bool = False
    evaluated: bool = False
    saw_activation: bool = False

    def add(self, *, is_training: bool) -> None:
        """Count a forward with gradients; ``is_training``: in training mode."""
        self.forwards += 1
        self.trained |= is_training
        self.evaluated |= not is_training

    def clear(self) -> None:
        """Start over."""
        self.forwards = 0
        self.trained = False
        self.evaluated = False
        self.saw_activation = False

    def summary(self, *, recorded: bool) -> SampledForwards:
        """Return the activity as values; ``recorded``: a layer that can die was recorded."""
        return SampledForwards(recorded, self.trained, self.evaluated, self.saw_activation, self.forwards)


class ForwardCounter:
    """Counts the training forwards of the watched models while no step is sampled, and does nothing else."""

    def __init__(self, names: ModuleNames) -> None:
        self.count = 0
        self._models = {id(model) for model in names.models}
        self._handle: RemovableHandle | None = None

    def start(self) -> None:
        """Begin to count, unless it counts already."""
        if self._handle is None:
            self.count = 0
            self._handle = register_module_forward_pre_hook(_call_weakly(self))
            weakref.finalize(self, self._handle.remove).atexit = False

    def stop(self) -> None:
        """Forget the count."""
        handle = self._handle
        self._handle = None
        self.count = 0
        if handle is not None:
            handle.remove()

    def add(self, module: nn.Module) -> None:
        """Count the forward of a module, if it is one of the models and trains."""
        if id(module) in self._models and torch.is_grad_enabled():
            self.count += 1


def _call_weakly(counter: ForwardCounter) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """Return a hook that does not keep the counter alive."""
    reference = weakref.ref(counter)

    def hook(module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        living = reference()
        if living is not None:
            living.add(module)

    return hook
