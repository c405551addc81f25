"""The stack of torch's function modes: a mode of the SDK is put below those of others and removed from anywhere in it.

Leaving a mode pops the topmost one, whichever it is. A mode that an interrupted forward left on top would be
popped in place of the user's own, which would then stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat, starmap
from typing import Any

import torch
from torch._C import (
    _get_function_stack_at,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch.overrides import TorchFunctionMode


def push_below_others(mode: TorchFunctionMode) -> None:
    """Put a mode below all others of this thread, but above the default device, which torch expects at the bottom."""
    stack = _mode_stack()
    default_device = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    has_default_device = bool(stack) and stack[0] is default_device
    _lift(len(stack) - has_default_device, lambda: _push_on_torch_function_stack(mode))


def remove(mode: TorchFunctionMode) -> None:
    """Take a mode off this thread's stack, wherever it is in it."""
    stack = _mode_stack()
    for depth, other in enumerate(reversed(stack)):
        if other is mode:
            _lift(depth, _pop_torch_function_stack)
            return


def _mode_stack() -> list[TorchFunctionMode]:
    return [_get_function_stack_at(index) for index in range(_len_torch_function_stack())]


def _lift(count: int, change: Any) -> None:
    """Call ``change`` while the topmost ``count`` modes are off the stack.

    They are moved in single calls, between which alone Python handles signals: an interrupt must lose none of them.
    """
    lifted: list[TorchFunctionMode] = []
    try:
        if count:
            lifted.extend(starmap(_pop_torch_function_stack, repeat((), count)))
        change()
    finally:
        _push_all(reversed(lifted))


def _push_all(modes: Iterable[TorchFunctionMode]) -> None:
    for mode in modes:
        _push_on_torch_function_stack(mode)
