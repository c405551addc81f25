"""The tensors of a forward that are known to be zero everywhere, without reading those on an accelerator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from relumine._capture.recent_results import put
from relumine._torch.unwrap import unwrap

# Number of elements up to which a tensor on the CPU is searched for anything but zeros.
MAX_ZEROS = 4096

ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})
FILLED = frozenset({"tensor", "as_tensor", "scalar_tensor", "new_tensor", "full", "full_like", "new_full"})
PRODUCTS = frozenset({"mul", "imul", "rmul", "multiply"})
CASTS = frozenset(
    {"to", "float", "half", "double", "bfloat16", "type", "type_as", "clone", "contiguous", "detach", "data"}
    | {"bool", "byte", "char", "short", "int", "long"}
    | {"expand", "expand_as", "view", "view_as", "reshape", "unsqueeze", "cuda", "cpu"}
)


class KnownZeros:
    """Remembers the last zero tensors that calls returned."""

    def __init__(self) -> None:
        self._zeros: dict[int, Tensor] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._zeros.clear()

    def remember(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> bool:
        """Remember the result of a call if it is zero; return whether it is."""
        is_zero = name in ZEROS or (name in FILLED and _is_filled_with_zero(name, args, kwargs))
        is_zero = is_zero or (name in PRODUCTS and any(_is_zero_number(factor) for factor in args))
        is_zero = is_zero or (name in CASTS and bool(args) and self.knows(args[0]))
        if is_zero:
            put(self._zeros, id(result), result)
        return is_zero

    def knows(self, value: Any) -> bool:
        """Return True for a tensor that is remembered as zero."""
        return self._zeros.get(id(value)) is value

    def has(self, value: Any) -> bool:
        """Return True for a number or a tensor known to be zero. A tensor on an accelerator is not read."""
        if not isinstance(value, Tensor):
            return _is_zero_number(value)
        if self.knows(value):
            return True
        plain = unwrap(value)
        if plain.tensor is None or plain.batch_dims or value.requires_grad:
            return False
        if value.device.type != "cpu" or value.numel() > MAX_ZEROS:
            return False
        return not bool(plain.tensor.any())


def _is_zero_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


def _is_filled_with_zero(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if name in {"full", "full_like", "new_full"}:
        value = kwargs.get("fill_value", args[-1] if args else None)
    elif name == "new_tensor":
        value = kwargs.get("data", args[-1] if args else None)
    else:
        value = args[0] if args else kwargs.get("data", kwargs.get("s"))
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(isinstance(item, (int, float)) and item == 0 for item in value)
    return isinstance(value, (int, float)) and value == 0
