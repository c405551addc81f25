"""Places in the user's code that call a torch function or a module, read from the frames of the calling thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, TypeAlias

from torch import nn

from relumine._torch.modules import ModuleNames
from relumine._torch.tensors import first_tensor

MAX_FRAMES = 32
CallSite: TypeAlias = tuple[tuple[CodeType, int], ...]


def call_site() -> CallSite:
    """Return the instructions that led from the innermost module's forward to this call.

    A loop gives the same site each time, two calls in the code give two.
    """
    site: list[tuple[CodeType, int]] = []
    for frame in _frames():
        if not _is_of_torch(frame):
            site.append((frame.f_code, frame.f_lasti))
        elif site:
            break
    return tuple(site)


def calling_module(names: ModuleNames, inner: int) -> nn.Module | None:
    """Return the watched module whose method contains this call, or None if it is in a function or in other code.

    ``inner`` is the id of the watched module that the method called: the method is one of its ancestors'. Their classes
    are compared with the code of the frame. Its locals are not read: Python would keep them alive with the frame.
    """
    for frame in _frames():
        if not _is_of_torch(frame):
            return names.owner_of_method(frame.f_code, inner)
    return None


def keyword_arguments(module: nn.Module) -> dict[str, object]:
    """Return the keyword arguments with which a module is being called; {} where they are not found.

    To be called from a global hook. Torch gives keyword arguments to a module's own pre-hooks only, and to global
    forward hooks only if one of its tables then keeps the hook's number for ever. They are a local of the frame that
    runs the hooks.
    """
    for frame in _frames():
        if not _is_of_torch(frame):
            return {}
        kwargs = frame.f_locals.get("kwargs")
        if isinstance(kwargs, dict) and frame.f_locals.get("self") is module:
            return kwargs
    return {}


def call_arguments(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Return the arguments of a module's forward that hold its input: by position, else by keyword."""
    return inputs if first_tensor(inputs) is not None else keyword_arguments(module)


def _frames() -> Iterator[FrameType]:
    """Yield the frames outside of the SDK, innermost first. Most callers need but the first few."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack would read source files
    count = 0
    while frame is not None and count < MAX_FRAMES:
        if not frame.f_globals.get("__name__", "").startswith("relumine._"):
            count += 1
            yield frame
        frame = frame.f_back


def _is_of_torch(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return isinstance(name, str) and (name == "torch" or name.startswith("torch."))
