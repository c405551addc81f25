"""Hears every call of torch while a watched forward runs, and passes it on untouched."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from relumine._activations import Activation, classify
from relumine._cost import CALL_S, Cost
from relumine._guard import Guard


class Listener(TorchFunctionMode):
    """Shows each activation, with the pre-activation it is about to read, to ``see``."""

    def __init__(self, see: Callable[[Activation, Tensor], None], cost: Cost, guard: Guard) -> None:
        super().__init__()
        self._see, self._cost, self._guard = see, cost, guard

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = classify(func, args, kwargs)
        if found is not None:
            self._show(found, args[0] if args else kwargs.get("input"))
        self._cost.spent_s += CALL_S
        return func(*args, **kwargs)

    def _show(self, found: Activation, z: object) -> None:
        began = perf_counter()
        try:
            if isinstance(z, Tensor) and z.dim() and z.is_floating_point():
                self._see(found, z)
        except Exception as error:  # noqa: BLE001 - the user's forward must go on
            self._guard.caught(found.name, error)
        self._cost.spent_s += perf_counter() - began
