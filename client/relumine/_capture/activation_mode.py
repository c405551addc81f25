"""A function mode that observes every torch call of a watched forward and passes it on unchanged."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

from torch.overrides import TorchFunctionMode

from relumine._capture.composed_relus import COMPOSED, REMEMBERED
from relumine._capture.producers import WEIGHTED
from relumine._capture.rnn_states import RNN_CALLS
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.overhead import HOOK_CALL_S, Overhead
from relumine._torch import function_modes
from relumine._torch.activations import call_name, is_activation
from relumine._torch.unwrap import call_unseen

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
    """Tells an observer of activations, layers, masks and zeros. Its own torch calls are seen by no mode.

    The observer is held weakly: an interrupted forward may leave the mode on torch's stack.
    """

    def __init__(self, observer: CallObserver, overhead: Overhead, guard: ErrorGuard) -> None:
        super().__init__()
        self._observer: Callable[[], CallObserver | None] = weakref.ref(observer)
        self._overhead = overhead
        self._guard = guard

    def enter(self) -> None:
        """Put the mode on the stack of this thread, below those of others."""
        function_modes.push_below_others(self)

    def leave(self) -> None:
        """Observe nothing more, and take the mode off the stack: only the thread that entered it can do that."""
        self._observer = _nothing
        function_modes.remove(self)

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, is_read_before, is_read_after = _interest(func)
        if is_read_before:
            self._observe(name, "before_call", func, args, kwargs)
        self._overhead.training_s += HOOK_CALL_S
        result = func(*args, **kwargs)
        if is_read_after:
            self._observe(name, "after_call", args, kwargs, result)
        return result

    def _observe(self, name: str, method: str, *arguments: Any) -> None:
        observer = self._observer()
        if observer is None:
            return
        started = perf_counter()
        try:
            call_unseen(getattr(observer, method), name, *arguments)
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the user's forward
            self._guard.handle(name, error)
        self._overhead.training_s += perf_counter() - started


@functools.lru_cache(maxsize=4096)
def _interest(function: Callable[..., Any]) -> tuple[str, bool, bool]:
    """Return the name of a torch function, and whether its arguments and whether its result are of interest."""
    name = call_name(function)
    return name, name in COMPOSED or is_activation(name), name in READ_AFTER


def _nothing() -> None:
    return None
