"""torch.compile and CUDA graphs: compiled code runs eagerly on sampled steps; a captured graph is not observed."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar, cast

import torch
from torch import nn

# What torch says of the hooks that are there on sampled steps, at each call of a compiled module.
_HOOKS_WARNING = re.compile("Using `torch.compile.module.` when there are global hooks", re.IGNORECASE)
_IGNORE_HOOKS_WARNING = ("ignore", _HOOKS_WARNING, Warning, None, 0)

FunctionT = TypeVar("FunctionT", bound="Callable[..., None]")


class EagerStance:
    """A reusable context in which compiled code runs eagerly: without recompilation, graph break or hidden calls.

    Entering it again while it is active does nothing. It has no effect while dynamo is not loaded, nor before
    torch 2.6, which has no stances.
    """

    def __init__(self) -> None:
        self._initial_frames = compiled_frame_count()

    def __enter__(self) -> Self:
        if "torch._dynamo" in sys.modules and has_stances():
            # Not by ``warnings.filterwarnings``, which makes Python show again what the user has seen before.
            if _IGNORE_HOOKS_WARNING not in warnings.filters:
                _filters().insert(0, _IGNORE_HOOKS_WARNING)
            _shared_stance.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        if _shared_stance.leave(self) and _IGNORE_HOOKS_WARNING in warnings.filters:
            _filters().remove(_IGNORE_HOOKS_WARNING)

    def was_needed(self, modules: Iterable[nn.Module]) -> bool:
        """Return True if one of the modules is compiled, or anything was compiled since this object was created."""
        return is_compiled(modules) or compiled_frame_count() > self._initial_frames


class _SharedStance:
    """The stance of the process while any monitor samples a step, and the user's own, which returns with the last one.

    Each monitor restoring what it found would leave the stance of one behind as soon as the sampled steps of two
    overlap.
    """

    def __init__(self) -> None:
        self._holders: weakref.WeakSet[EagerStance] = weakref.WeakSet()
        self._users: Any = None
        self._ours: Any = None
        self._eager: Any = None

    def enter(self, holder: EagerStance) -> None:
        self._holders.add(holder)
        if _current_stance() is self._ours:
            return
        self._users = _current_stance()
        self._ours = None  # until it is known: an interrupt may come before it is
        if self._eager is None:
            self._eager = torch.compiler.set_stance("force_eager").stance
        else:  # each sampled step comes here, and making another stance costs many times more
            _set_stance(self._eager)
        self._ours = self._eager

    def leave(self, holder: EagerStance) -> bool:
        """Return True if the user's stance is back, or was never replaced."""
        self._holders.discard(holder)
        if self._holders:
            return False
        if self._users is None:
            return True
        current = _current_stance()
        is_ours = current is self._ours
        if self._ours is None:
            is_ours = current is not self._users and current.stance == "force_eager"
        if is_ours:
            _set_stance(self._users)
            self._users = None
            self._ours = None
        return is_ours


_shared_stance = _SharedStance()


def _current_stance() -> Any:
    return sys.modules["torch._dynamo.eval_frame"]._stance  # noqa: SLF001 - it can be set in public, but not read


def _set_stance(stance: Any) -> None:
    sys.modules["torch._dynamo.eval_frame"]._set_stance(stance)  # noqa: SLF001 - as set_stance does


def _filters() -> list[Any]:
    """Return the list of warning filters that Python reads, which its type declares to be unchangeable."""
    return warnings.filters  # type: ignore[return-value]  # a list at run time


def has_stances() -> bool:
    """Return True if this torch can be asked to run compiled code eagerly."""
    return hasattr(torch.compiler, "set_stance")


def is_compiled(modules: Iterable[nn.Module]) -> bool:
    """Return True if torch.compile or ``Module.compile`` was applied to one of the modules."""
    return any(is_optimized(module) or getattr(module, "_compiled_call_impl", None) is not None for module in modules)


def is_optimized(module: nn.Module) -> bool:
    """Return True if the module is the wrapper that torch.compile returns."""
    return type(module).__name__ == "OptimizedModule"


def compiled_frame_count() -> int:
    """Return the number of frames that dynamo has compiled in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["frames"]["total"]) if dynamo is not None else 0


def is_captured() -> bool:
    """Return True if what runs now is recorded by torch.jit.trace or as a CUDA graph, to be run without Python."""
    if torch._C._get_tracing_state() is not None:  # noqa: SLF001 - torch.jit.is_tracing asks in the same way, slower
        return True
    return bool(torch.cuda.is_initialized()) and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]


def run_outside_of_compiled_code(function: FunctionT) -> FunctionT:
    """Return a function that dynamo does not trace where compiled code calls it, nor what it calls.

    Outside of compiled code the call costs next to nothing; torch's own ``disable`` would cost a microsecond.
    """
    disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]  # torch has no types for it
    query = _callback_query()
    if query is None:
        return cast("FunctionT", disabled)

    def call(*args: Any) -> None:
        if query() is None:
            function(*args)
        else:
            disabled(*args)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # noqa: SLF001 - what ``disable`` sets, too
    return cast("FunctionT", call)


def skip_in_compiled_code(function: FunctionT) -> FunctionT:
    """Have dynamo neither trace nor compile a function whose own code calls nothing but what does the same. Return it.

    In contrast to ``run_outside_of_compiled_code`` this costs nothing per call.
    """
    function._torchdynamo_disable = True  # type: ignore[attr-defined]  # noqa: SLF001 - what ``disable`` sets, too
    with contextlib.suppress(ImportError):
        from torch._C._dynamo.eval_frame import skip_code  # type: ignore[attr-defined]  # noqa: PLC0415 - may be missing

        skip_code(function.__code__)
    return function


def _callback_query() -> Callable[[], object] | None:
    """Return the function that tells whether compiled code runs now, None where this torch has none."""
    try:
        from torch._C._dynamo.eval_frame import get_eval_frame_callback  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    return cast("Callable[[], object]", get_eval_frame_callback)
