"""torch.compile and CUDA graphs: compiled code runs eagerly on sampled steps; a captured graph is not observed."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import nn


class EagerStance:
    """A reusable context in which compiled code runs eagerly: without recompilation, graph break or hidden calls.

    Entering it again while it is active does nothing. It has no effect while dynamo is not loaded, nor before
    torch 2.6, which has no stances.
    """

    def __init__(self) -> None:
        self._initial_frames = compiled_frame_count()
        self._warning_is_filtered = False

    def __enter__(self) -> Self:
        if "torch._dynamo" in sys.modules and has_stances():
            self._filter_warning()
            _shared_stance.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        _shared_stance.leave(self)

    def was_needed(self, modules: Iterable[nn.Module]) -> bool:
        """Return True if one of the modules is compiled, or anything was compiled since this object was created."""
        return is_compiled(modules) or compiled_frame_count() > self._initial_frames

    def _filter_warning(self) -> None:
        # Once only: every change of the filters makes Python show earlier warnings again.
        if not self._warning_is_filtered:
            self._warning_is_filtered = True
            warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")


class _SharedStance:
    """The stance of the process while any monitor samples a step, and the user's own, which returns with the last one.

    Each monitor restoring what it found would leave the stance of one behind as soon as the sampled steps of two
    overlap.
    """

    def __init__(self) -> None:
        self._holders: weakref.WeakSet[EagerStance] = weakref.WeakSet()
        self._users: Any = None
        self._ours: Any = None

    def enter(self, holder: EagerStance) -> None:
        self._holders.add(holder)
        if _current_stance() is self._ours:
            return
        self._users = _current_stance()
        self._ours = None  # until it is known: an interrupt may come before it is
        self._ours = torch.compiler.set_stance("force_eager").stance

    def leave(self, holder: EagerStance) -> None:
        self._holders.discard(holder)
        if self._users is None or self._holders:
            return
        current = _current_stance()
        is_ours = current is self._ours
        if self._ours is None:
            is_ours = current is not self._users and current.stance == "force_eager"
        if is_ours:
            sys.modules["torch._dynamo.eval_frame"]._set_stance(self._users)  # noqa: SLF001 - as set_stance does
            self._users = None
            self._ours = None


_shared_stance = _SharedStance()


def _current_stance() -> Any:
    return sys.modules["torch._dynamo.eval_frame"]._stance  # noqa: SLF001 - it can be set in public, but not read


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
    """Return True if a CUDA graph is being captured: what runs now will be replayed without Python."""
    return bool(torch.cuda.is_initialized()) and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
