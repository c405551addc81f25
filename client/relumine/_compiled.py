"""What torch.compile and CUDA graphs ask of a sampled step: it runs eagerly, or is left alone."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class Stance:
    """Makes compiled code run eagerly for one step: no recompilation, no graph break, and nothing is hidden."""

    def __init__(self) -> None:
        self._frames = frames_compiled()
        self._held: Any = None
        self._warned = False

    def eager(self) -> None:
        """From here on; does nothing where dynamo was never loaded, and before torch 2.6, which has no stances."""
        if self._held is not None or "torch._dynamo" not in sys.modules or not has_stances():
            return
        if not self._warned:  # once: every change of the filters makes Python show old warnings again
            self._warned = True
            warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
        self._held = torch.compiler.set_stance("force_eager")

    def used(self, modules: Iterable[nn.Module]) -> bool:
        """Whether sampled steps had to: the model is compiled, or something was compiled while it was watched."""
        return is_compiled(modules) or frames_compiled() > self._frames

    def restore(self) -> None:
        """The stance that was found, which may be the user's own."""
        if self._held is not None:
            self._held.__exit__(None, None, None)
            self._held = None


def has_stances() -> bool:
    """Whether this torch can be asked to run compiled code eagerly."""
    return hasattr(torch.compiler, "set_stance")


def is_compiled(modules: Iterable[nn.Module]) -> bool:
    """Whether one of the modules was given to torch.compile."""
    return any(is_optimized(module) or getattr(module, "_compiled_call_impl", None) is not None for module in modules)


def is_optimized(module: nn.Module) -> bool:
    """Whether it is what torch.compile wrapped around a module."""
    return type(module).__name__ == "OptimizedModule"


def frames_compiled() -> int:
    """How many frames dynamo has compiled in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["frames"]["total"]) if dynamo is not None else 0


def is_captured() -> bool:
    """Whether a CUDA graph is being recorded: what runs now will be replayed without Python."""
    return bool(torch.cuda.is_initialized()) and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
