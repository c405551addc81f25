"""torch.compile and CUDA graphs: compiled code runs eagerly on sampled steps; a captured graph is not observed."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import nn

# What torch says of the hooks that are there on sampled steps, at each call of a compiled module.
_HOOKS_WARNING = re.compile("Using `torch.compile.module.` when there are global hooks", re.IGNORECASE)
_IGNORE_HOOKS_WARNING = ("ignore", _HOOKS_WARNING, Warning, None, 0)


class EagerStance:
    """A reusable context in which compiled code runs eagerly: without recompilation, graph break or hidden calls.

    Entering it again while it is active does nothing. It has no effect while dynamo is not loaded, nor before
    torch 2.6, which has no stances.
    """

    def __init__(self) -> None:
        self._initial_frames = compiled_frame_count()
        self._stance: Any = None

    def __enter__(self) -> Self:
        if self._stance is not None or "torch._dynamo" not in sys.modules or not has_stances():
            return self
        # Not by ``warnings.filterwarnings``, which makes Python show again what the user has seen before.
        if _IGNORE_HOOKS_WARNING not in warnings.filters:
            _filters().insert(0, _IGNORE_HOOKS_WARNING)
        self._stance = torch.compiler.set_stance("force_eager")
        return self

    def __exit__(self, *_: object) -> None:
        # Restores the stance found on entry, which may be the user's own.
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
            if _IGNORE_HOOKS_WARNING in warnings.filters:
                _filters().remove(_IGNORE_HOOKS_WARNING)

    def was_needed(self, modules: Iterable[nn.Module]) -> bool:
        """Return True if one of the modules is compiled, or anything was compiled since this object was created."""
        return is_compiled(modules) or compiled_frame_count() > self._initial_frames


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
