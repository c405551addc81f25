"""A function mode that observes every torch call of a watched forward and passes it on unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import torch
from torch.overrides import TorchFunctionMode

from relumine._capture.composed_relus import COMPOSED, REMEMBERED
from relumine._capture.producers import WEIGHTED
from relumine._capture.rnn_states import RNN_CALLS
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch.activations import call_name, is_activation
from relumine._torch.unwrap import without_torch_functions

READ_AFTER = REMEMBERED | WEIGHTED | RNN_CALLS


class CallObserver(Protocol):
    """An observer of the torch calls that matter, by the name of their function."""

    def before_call(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Observe a call that may be an activation. Before, since an in-place one overwrites its pre-activation."""

    def after_call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Observe the result of a call that an activation may read."""


class ActivationMode(TorchFunctionMode):
    """Tells an observer of activations, layers, masks and zeros. Its own torch calls are seen by no mode."""

    def __init__(self, observer: CallObserver, overhead: Overhead, guard: ErrorGuard) -> None:
        super().__init__()
        self._observer = observer
        self._overhead = overhead
        self._guard = guard

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = call_name(func)
        if name in COMPOSED or is_activation(name):
            self._observe(name, self._observer.before_call, func, args, kwargs)
        self._overhead.training_s += HOOK_CALL_S
        result = func(*args, **kwargs)
        if name in READ_AFTER:
            self._observe(name, self._observer.after_call, args, kwargs, result)
        return result

    def enter(self) -> None:
        """Put the mode on the stack of this thread."""
        torch._C._push_on_torch_function_stack(self)  # noqa: SLF001 - as in ``leave``

    def leave(self) -> None:
        """Take the mode off the stack of this thread, also where modes of the user lie above it."""
        above: list[Any] = []
        while torch._C._len_torch_function_stack():  # noqa: SLF001 - torch takes modes off the stack in this way itself
            mode = torch._C._pop_torch_function_stack()  # noqa: SLF001 - as above
            if mode is self:
                break
            above.append(mode)
        for mode in reversed(above):
            torch._C._push_on_torch_function_stack(mode)  # noqa: SLF001 - as above

    def _observe(self, name: str, part: Callable[..., None], *arguments: Any) -> None:
        started = perf_counter()
        try:
            with without_torch_functions():
                part(name, *arguments)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            self._guard.handle(name, error)
        self._overhead.training_s += perf_counter() - started
