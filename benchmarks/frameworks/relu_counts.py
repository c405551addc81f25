"""An independent count of active units: below autograd, where every spelling of a ReLU is one of a few operators.

It shares no code and no rule with the SDK. Torch's dispatch mode sees what is really executed; the module in which it
happens is known from module hooks, and the units lie where torch's layers put them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

Site: TypeAlias = tuple[str, int]
"""The path of a module and the number of units of the activations in it."""


@dataclass(slots=True)
class ActiveCounts:
    """The active positions and examples of each unit, summed over all calls in one site; tensors of shape (units,)."""

    positions: Tensor
    examples: Tensor

    @classmethod
    def of(cls, units: int) -> ActiveCounts:
        """Return counts of zero."""
        return cls(torch.zeros(units, dtype=torch.int64), torch.zeros(units, dtype=torch.int64))


@dataclass
class ReluCounts:
    """The counts of a training so far.

    Attributes:
        active: by site.
        most_calls: by site, the most ReLUs that one forward executed there.
    """

    active: dict[Site, ActiveCounts] = field(default_factory=dict)
    most_calls: Counter[Site] = field(default_factory=Counter)
    _this_forward: Counter[Site] = field(default_factory=Counter)

    def add(self, path: str, z: Tensor) -> None:
        """Add a pre-activation: its units lie along axis 1 of four or more, else along the last."""
        dim = 1 if z.dim() >= 4 else z.dim() - 1
        is_active = (z > 0).movedim(dim, -1)
        units = is_active.shape[-1]
        site = (path, units)
        counts = self.active.setdefault(site, ActiveCounts.of(units))
        rows = is_active.reshape(-1, units)
        counts.positions += rows.sum(0)
        counts.examples += is_active.reshape(is_active.shape[0], -1, units).any(1).sum(0)
        self._this_forward[site] += 1

    def end_forward(self) -> None:
        """End the forward of a watched model."""
        self.most_calls |= self._this_forward
        self._this_forward.clear()


class ReluCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Counts the ReLUs of the training forwards of some models from ``start`` to ``stop``."""

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = ReluCounts()
        self._paths: dict[int, str] = {}
        for name, model in models.items():
            for path, module in model.named_modules():
                self._paths.setdefault(id(module), ".".join(part for part in (name, path) if part))
        self._running: list[nn.Module] = []
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self.__enter__()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Stop counting."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_relu(func.overloadpacket.__name__, args, kwargs) and self._is_training():
            self.counts.add(self._paths[id(self._running[-1])], args[0].detach())
        return func(*args, **kwargs)

    def _is_training(self) -> bool:
        """Return True in a forward that trains: with gradients, in training mode, and not recomputed by a backward."""
        if not self._running or not torch.is_grad_enabled() or torch._C._current_graph_task_id() != -1:  # noqa: SLF001 - torch has no public query for it
            return False
        return self._running[0].training and self._running[-1].training

    def _enter_module(self, module: nn.Module, _inputs: Any) -> None:
        if id(module) in self._paths:
            self._running.append(module)

    def _leave_module(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if self._running and self._running[-1] is module:
            self._running.pop()
        if not self._running:
            self.counts.end_forward()


def is_relu(name: str, args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Return True if an operator of torch cuts off at zero: ``relu``, or another that is one with these arguments."""
    name = name.removesuffix("_")
    limits = [*args[1:3], *kwargs.values()]
    if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
        return False
    if name == "relu":
        return True
    if name == "threshold":
        return limits[:2] == [0, 0]
    return name in ("clamp_min", "clamp", "hardtanh") and bool(limits) and _is_zero(limits[0])


def _is_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and value == 0
