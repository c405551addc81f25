"""A function mode that observes every torch call of a watched forward and passes it on unchanged."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch.activations import Activation, match_activation


class ActivationMode(TorchFunctionMode):
    """Calls ``on_activation`` with each activation and its pre-activation, before the activation runs.

    Before, because an in-place activation overwrites its pre-activation.
    """

    def __init__(
        self, on_activation: Callable[[Activation, Tensor], None], overhead: Overhead, guard: ErrorGuard
    ) -> None:
        super().__init__()
        self._on_activation = on_activation
        self._overhead = overhead
        self._guard = guard

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        activation = match_activation(func, args, kwargs)
        if activation is not None:
            self._observe(activation, args[0] if args else kwargs.get("input"))
        self._overhead.training_s += HOOK_CALL_S
        return func(*args, **kwargs)

    def _observe(self, activation: Activation, z: object) -> None:
        started = perf_counter()
        try:
            if isinstance(z, Tensor) and z.dim() and z.is_floating_point():
                self._on_activation(activation, z)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            self._guard.handle(activation.name, error)
        self._overhead.training_s += perf_counter() - started
