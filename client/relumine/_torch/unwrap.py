"""The plain tensor inside the tensors that torch.func transforms wrap; what cannot be read says why.

The only place for the private names of functorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

VMAPPED = "inside torch.func.vmap: not unwrapped"

_functorch: Any = getattr(torch._C, "_functorch", None)  # noqa: SLF001 - functorch has no public names for its tensors
_BASE_DISPATCH = torch._C._disabled_torch_dispatch_impl  # noqa: SLF001 - as above
_get_state: Any = getattr(torch._C, "_get_torch_function_state", None)  # noqa: SLF001 - as above
_set_state: Any = getattr(torch._C, "_set_torch_function_state", None)  # noqa: SLF001 - as above
# ``torch.no_grad`` comes to the same by way of two classes written in Python.
_set_grad_enabled: Any = torch._C._set_grad_enabled  # noqa: SLF001 - as above
_PLAIN_TYPES = (Tensor, nn.Parameter)


class Unwrapped(NamedTuple):
    """A plain strided tensor that shares its memory with the original, or the reason why there is none.

    Attributes:
        tensor: the tensor, with the axes that ``vmap`` hides as its first ones.
        batch_dims: the number of those axes.
        reason: why there is no tensor.
    """

    tensor: Tensor | None
    batch_dims: int = 0
    reason: str | None = None


def unwrap(tensor: Tensor) -> Unwrapped:
    """Return the plain tensor inside ``tensor``. To be called where torch functions are not overridden."""
    batch_dims = 0
    if _is_wrapped(tensor):
        try:
            tensor, batch_dims = _inside_transforms(tensor)
        except (AttributeError, RuntimeError):  # functorch is private and may change
            return Unwrapped(None, reason=VMAPPED)
    reason = _unreadable(tensor)
    if reason is not None:
        return Unwrapped(None, reason=reason)
    if type(tensor) not in _PLAIN_TYPES:
        tensor = tensor.as_subclass(Tensor)
    return Unwrapped(tensor, batch_dims)


def without_torch_functions() -> AbstractContextManager[Any]:
    """Return a context in which no mode, tensor subclass or transform sees the torch calls of this thread."""
    if _functorch is not None and _functorch.maybe_current_level() is not None:
        return _outside_transforms()
    return torch._C.DisableTorchFunction()  # noqa: SLF001 - torch documents it without giving it a public name


def call_unseen(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function of the SDK without gradients, so that no mode, tensor subclass or transform sees its torch calls.

    Gradients and torch functions are as before afterwards, also where an error or an interrupt ends the call: one
    within ``__enter__`` or before ``__exit__`` of a context would skip its exit.
    """
    grad_enabled = torch.is_grad_enabled()
    state = None if _get_state is None else _get_state()
    try:
        with without_torch_functions():
            _set_grad_enabled(False)  # noqa: FBT003 - its only argument
            function(*arguments)
            _set_grad_enabled(grad_enabled)
    except BaseException:
        torch.set_grad_enabled(grad_enabled)
        if state is not None:
            _set_state(state)
        raise


@contextmanager
def _outside_transforms() -> Iterator[None]:
    # Inside a transform, tensors made outside of it must not be changed in place: our buffers among them.
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack  # noqa: PLC0415 - loaded by transforms

    with torch._C.DisableTorchFunction(), temporarily_clear_interpreter_stack():  # noqa: SLF001 - as above
        yield


def is_function_mode_active() -> bool:
    """Return True if a function mode, the user's or ours, is on the stack of this thread."""
    return torch._C._len_torch_function_stack() > 0  # noqa: SLF001 - torch has no public name for it


def _is_wrapped(tensor: Tensor) -> bool:
    return _functorch is not None and bool(_functorch.is_functorch_wrapped_tensor(tensor))


def _inside_transforms(tensor: Tensor) -> tuple[Tensor, int]:
    """Return the innermost tensor and the number of axes that ``vmap`` added to it, which come first."""
    hidden: list[int] = []
    while _is_wrapped(tensor):
        if _functorch.is_batchedtensor(tensor):
            hidden.append(_functorch.maybe_get_bdim(tensor))
        tensor = _functorch.get_unwrapped(tensor)
    if not hidden:
        return tensor, 0
    # Each level counts its axis among those that the levels outside of it do not hide: undone from the outermost.
    visible = list(range(tensor.dim()))
    first = [visible.pop(axis) for axis in reversed(hidden)]
    return tensor.permute(*first, *visible), len(hidden)


def _unreadable(tensor: Tensor) -> str | None:
    if tensor.is_nested:
        return "a nested tensor: its examples have different lengths"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.is_meta:
        return "on the meta device: it has no numbers"
    if type(tensor) not in _PLAIN_TYPES and type(tensor).__torch_dispatch__ is not _BASE_DISPATCH:
        return f"a {type(tensor).__name__}: its numbers are not in this tensor"
    return None
