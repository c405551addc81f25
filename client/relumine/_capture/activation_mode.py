"""A function mode that observes every torch call of a watched forward and passes it on unchanged."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch.activations import Activation, match_activation


class ActivationMode(TorchFunctionMode):
    """Calls ``on_activation`` with each activation and its pre-activation, before the activation runs.

    Before, because an in-place activation overwrites its pre-activation. The owner of ``on_activation`` is held weakly:
    an interrupted forward may leave the mode on torch's stack.
    """

    def __init__(
        self, on_activation: Callable[[Activation, Tensor], None], overhead: Overhead, guard: ErrorGuard
    ) -> None:
        super().__init__()
        self._on_activation: Callable[[], Callable[[Activation, Tensor], None] | None] = weakref.WeakMethod(
            on_activation
        )
        self._overhead = overhead
        self._guard = guard

    def stop(self) -> None:
        """Observe nothing more: only the thread that entered the mode can remove it."""
        self._on_activation = _nothing

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
        grad_enabled = torch.is_grad_enabled()
        on_activation = self._on_activation()
        try:
            if on_activation is not None and isinstance(z, Tensor) and z.dim() and z.is_floating_point():
                on_activation(activation, z)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            torch.set_grad_enabled(grad_enabled)
            self._guard.handle(activation.name, error)
        except BaseException:
            torch.set_grad_enabled(grad_enabled)  # an interrupt within ``no_grad().__enter__`` skips its exit
            raise
        self._overhead.training_s += perf_counter() - started


def _nothing() -> None:
    return None
