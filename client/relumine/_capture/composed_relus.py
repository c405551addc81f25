"""ReLUs that a forward composes of several torch calls: ``x * (x > 0)``, ``where(x > 0, x, 0)``, ``maximum(x, zeros)``.

A call is taken for a ReLU only if its mask was computed from the very tensor, unchanged, or its other operand is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relumine._torch.activations import RELU, Activation
from relumine._torch.tensors import is_unchanged, version_of
from relumine._torch.unwrap import unwrap

# Results remembered of each kind; a ReLU reads its mask soon after it was computed.
MAX_REMEMBERED = 8
# Number of elements up to which a tensor on the CPU is searched for anything but zeros.
MAX_ZEROS = 4096

THRESHOLDED = Activation("thresholded", can_die=True)

ABOVE = frozenset({"gt", "ge", "greater", "greater_equal"})
BELOW = frozenset({"lt", "le", "less", "less_equal"})
NEGATIONS = frozenset({"logical_not", "bitwise_not", "invert"})
CASTS = frozenset(
    {"to", "float", "half", "double", "bfloat16", "type", "type_as", "clone", "contiguous", "detach"}
    | {"bool", "byte", "char", "short", "int", "long"}
    | {"expand", "expand_as", "view", "view_as", "reshape", "unsqueeze", "cuda", "cpu"}
)
ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})
FILLED = frozenset({"tensor", "as_tensor", "scalar_tensor", "new_tensor", "full", "full_like", "new_full"})
PRODUCTS = frozenset({"mul", "imul", "rmul", "multiply"})
SUMS = frozenset({"add", "iadd", "radd"})
MAXIMA = frozenset({"maximum", "max", "fmax"})
BOUNDS = frozenset({"clamp", "clip", "clamp_min"})

REMEMBERED = ABOVE | BELOW | NEGATIONS | CASTS | ZEROS | FILLED | {"abs"}
COMPOSED = PRODUCTS | SUMS | MAXIMA | BOUNDS | {"where", "masked_fill", "setitem"}


class _Derived(NamedTuple):
    """A tensor computed from ``source``: a mask of where it is above or below a threshold, or its absolute value.

    ``kind`` is ``itself`` for what ``detach`` returns.
    """

    result: Tensor
    source: Tensor
    version: int
    kind: str
    is_zero_threshold: bool


class ComposedRelus:
    """Remembers the masks and zeros of one forward and recognises the calls that make a ReLU of them."""

    def __init__(self) -> None:
        self._derived: dict[int, _Derived] = {}
        self._zeros: dict[int, Tensor] = {}

    def clear(self) -> None:
        """Forget everything, so that no tensor is kept alive beyond its forward."""
        self._derived.clear()
        self._zeros.clear()

    def remember(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Remember the result of a call whose name is in ``REMEMBERED``."""
        if not isinstance(result, Tensor):
            return
        if name in ZEROS or (name in FILLED and _is_filled_with_zero(name, args, kwargs)):
            _put(self._zeros, id(result), result)
        elif args and isinstance(args[0], Tensor):
            self._derive(name, args, kwargs, result)

    def match(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Return the activation that a call completes and its pre-activation, or None.

        ``THRESHOLDED`` stands for a threshold other than 0 (JumpReLU). ``name`` is in ``COMPOSED``.
        """
        return _MATCHERS[name](self, args, kwargs)

    def _derive(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        source = args[0]
        earlier = self._derived.get(id(source))
        if name in ABOVE or name in BELOW:
            threshold = args[1] if len(args) > 1 else kwargs.get("other")
            derived = self._mask(source, threshold, result, is_above=name in ABOVE)
        elif name == "abs":
            derived = _Derived(result, source, version_of(source), "abs", is_zero_threshold=True)
        elif earlier is not None and earlier.result is source:
            if not _keeps_meaning(earlier, name, result):
                return
            derived = earlier._replace(result=result)
            if name in NEGATIONS:
                derived = derived._replace(kind="below" if earlier.kind == "above" else "above")
        elif self._zeros.get(id(source)) is source:
            _put(self._zeros, id(result), result)
            return
        elif name == "detach":
            derived = _Derived(result, source, version_of(source), "itself", is_zero_threshold=True)
        else:
            return
        _put(self._derived, id(result), derived)

    def _mask(self, source: Any, threshold: Any, result: Tensor, *, is_above: bool) -> _Derived:
        # ``x > parameter`` reaches torch as ``parameter < x``: Python asks the subclass of Tensor first.
        if isinstance(threshold, Tensor) and (isinstance(source, nn.Parameter) or id(source) in self._zeros):
            source, threshold = threshold, source
            is_above = not is_above
        source = self._undetached(source)
        kind = "above" if is_above else "below"
        return _Derived(result, source, version_of(source), kind, self._is_zero(threshold))

    def _undetached(self, tensor: Any) -> Any:
        """Return the tensor that ``tensor`` was detached from, if neither was changed since."""
        derived = self._derived.get(id(tensor))
        if derived is None or derived.result is not tensor or derived.kind != "itself":
            return tensor
        return derived.source if is_unchanged(derived.source, derived.version) else tensor

    def _from(self, mask: Any, x: Any, kind: str) -> Activation | None:
        """Return the activation that ``mask`` makes of ``x``, or None if it is no mask of it."""
        derived = self._derived.get(id(mask))
        if derived is None or derived.result is not mask or derived.source is not x or derived.kind != kind:
            return None
        if not is_unchanged(derived.source, derived.version):
            return None
        return RELU if derived.is_zero_threshold else THRESHOLDED

    def _is_zero(self, value: Any) -> bool:
        """Return True for a number or a tensor known to be zero. A tensor on an accelerator is not read."""
        if not isinstance(value, Tensor):
            return isinstance(value, (int, float)) and value == 0
        if self._zeros.get(id(value)) is value:
            return True
        plain = unwrap(value)
        if plain.tensor is None or plain.batch_dims or value.requires_grad:
            return False
        if value.device.type != "cpu" or value.numel() > MAX_ZEROS:
            return False
        return not bool(plain.tensor.any())

    def _product(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        return self._symmetric(args, kwargs, lambda x, other: self._from(other, x, "above"))

    def _sum(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``x + x.abs()``, twice the ReLU."""
        return self._symmetric(args, kwargs, lambda x, other: self._from(other, x, "abs"))

    def _maximum(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        return self._symmetric(args, kwargs, lambda _, other: self._relu_if_zero_tensor(other))

    def _symmetric(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], match: Callable[[Tensor, Any], Activation | None]
    ) -> tuple[Activation, Tensor] | None:
        first = _argument(args, kwargs, 0, "input")
        second = _argument(args, kwargs, 1, "other")
        for x, other in ((first, second), (second, first)):
            activation = match(x, other) if isinstance(x, Tensor) else None
            if activation is not None:
                return activation, x
        return None

    def _bounded(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        if _argument(args, kwargs, 2, "max") is not None:
            return None
        return self._with(
            _argument(args, kwargs, 0, "input"), self._relu_if_zero_tensor(_argument(args, kwargs, 1, "min"))
        )

    def _where(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        if len(args) < 3:
            args = (*args, *(kwargs[key] for key in ("input", "condition", "self", "other") if key in kwargs))
        if len(args) != 3:
            return None
        mask, first, second = args
        if id(mask) not in self._derived:  # Tensor.where(x, mask, other)
            mask = args[1]
            first = args[0]
        if self._is_zero(second):
            return self._with(first, self._from(mask, first, "above"))
        if self._is_zero(first):
            return self._with(second, self._from(mask, second, "below"))
        return None

    def _masked_fill(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``x.masked_fill(x < 0, 0)`` and ``x[x < 0] = 0``."""
        x = _argument(args, kwargs, 0, "input")
        mask = _argument(args, kwargs, 1, "mask")
        if not self._is_zero(_argument(args, kwargs, 2, "value")):
            return None
        return self._with(x, self._from(mask, x, "below"))

    def _relu_if_zero_tensor(self, value: Any) -> Activation | None:
        return RELU if isinstance(value, Tensor) and self._is_zero(value) else None

    @staticmethod
    def _with(x: Any, activation: Activation | None) -> tuple[Activation, Tensor] | None:
        return None if activation is None or not isinstance(x, Tensor) else (activation, x)


def _keeps_meaning(derived: _Derived, name: str, result: Tensor) -> bool:
    """Return True if a cast or a negation of a derived tensor is still one: integers lose the sign of small numbers."""
    if derived.kind in {"abs", "itself"}:
        return name not in NEGATIONS and result.is_floating_point()
    return name not in NEGATIONS or result.dtype == torch.bool


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


def _put(memory: dict[int, Any], key: int, value: Any) -> None:
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs.get(name)


_Matcher = Callable[[ComposedRelus, Sequence[Any], Mapping[str, Any]], tuple[Activation, Tensor] | None]

_MATCHERS: Mapping[str, _Matcher] = {
    **dict.fromkeys(PRODUCTS, ComposedRelus._product),  # noqa: SLF001 - the table of the class above
    **dict.fromkeys(SUMS, ComposedRelus._sum),  # noqa: SLF001 - as above
    **dict.fromkeys(MAXIMA, ComposedRelus._maximum),  # noqa: SLF001 - as above
    **dict.fromkeys(BOUNDS, ComposedRelus._bounded),  # noqa: SLF001 - as above
    "where": ComposedRelus._where,  # noqa: SLF001 - as above
    "masked_fill": ComposedRelus._masked_fill,  # noqa: SLF001 - as above
    "setitem": ComposedRelus._masked_fill,  # noqa: SLF001 - as above
}
