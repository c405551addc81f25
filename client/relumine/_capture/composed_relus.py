"""ReLUs that a forward composes of several torch calls: ``x * (x > 0)``, ``maximum(x, zeros)``, ``x - x.clamp(max=0)``.

A call is taken for a ReLU only if its mask was computed from the very tensor, unchanged, or its other operand is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relumine._capture.known_zeros import CASTS, FILLED, PRODUCTS, ZEROS, KnownZeros
from relumine._capture.recent_results import put
from relumine._torch.activations import RELU, Activation
from relumine._torch.tensors import is_unchanged, version_of

THRESHOLDED = Activation("thresholded", can_die=True)

ABOVE = frozenset({"gt", "ge", "greater", "greater_equal"})
BELOW = frozenset({"lt", "le", "less", "less_equal"})
NEGATIONS = frozenset({"logical_not", "bitwise_not", "invert"})
SUMS = frozenset({"add", "iadd", "radd"})
DIFFERENCES = frozenset({"sub", "isub", "subtract"})
MAXIMA = frozenset({"maximum", "max", "fmax"})
MINIMA = frozenset({"minimum", "min", "fmin"})
BOUNDS = frozenset({"clamp", "clip", "clamp_min", "clamp_max"})
OPPOSITES = frozenset({"neg", "negative"})

UNARY = {"abs": "abs", "neg": "opposite", "negative": "opposite", "detach": "itself", "data": "itself"}

REMEMBERED = (
    ABOVE
    | BELOW
    | NEGATIONS
    | CASTS
    | ZEROS
    | FILLED
    | OPPOSITES
    | MINIMA
    | PRODUCTS
    | {"abs", "clamp", "clip", "clamp_max"}
)
COMPOSED = PRODUCTS | SUMS | DIFFERENCES | MAXIMA | MINIMA | BOUNDS | {"where", "masked_fill", "setitem"}


class _Derived(NamedTuple):
    """A tensor computed from ``source``: a mask of where it is above or below a threshold, or its absolute value.

    ``kind`` is ``itself`` for what ``detach`` returns, ``opposite`` for ``-source`` and ``lower`` for what is left of
    ``source`` below zero, and zero elsewhere.
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
        self._zeros = KnownZeros()

    def clear(self) -> None:
        """Forget everything, so that no tensor is kept alive beyond its forward."""
        self._derived.clear()
        self._zeros.clear()

    def remember(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Remember the result of a call whose name is in ``REMEMBERED``."""
        if not isinstance(result, Tensor):
            return
        if self._zeros.remember(name, args, kwargs, result):
            return
        if args and isinstance(args[0], Tensor):
            self._derive(name, args, kwargs, result)

    def match(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Return the activation that a call completes and its pre-activation, or None.

        ``THRESHOLDED`` stands for a threshold other than 0 (JumpReLU). ``name`` is in ``COMPOSED``.
        """
        return _MATCHERS[name](self, args, kwargs)

    def _derive(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        source = args[0]
        earlier = self._derived.get(id(source))
        if earlier is not None and earlier.result is source and name in CASTS | NEGATIONS:
            derived = _cast(earlier, name, result)
        elif name in ABOVE or name in BELOW:
            threshold = args[1] if len(args) > 1 else kwargs.get("other")
            derived = self._mask(source, threshold, result, is_above=name in ABOVE)
        elif name in MINIMA or name in BOUNDS:
            derived = _derived(result, self._lowered(name, args, kwargs), "lower")
        else:
            derived = _derived(result, source, UNARY.get(name))
        if derived is not None:
            put(self._derived, id(result), derived)

    def _mask(self, source: Any, threshold: Any, result: Tensor, *, is_above: bool) -> _Derived:
        # ``x > parameter`` reaches torch as ``parameter < x``: Python asks the subclass of Tensor first.
        if isinstance(threshold, Tensor) and (isinstance(source, nn.Parameter) or self._zeros.knows(source)):
            source, threshold = threshold, source
            is_above = not is_above
        source = self._undetached(source)
        kind = "above" if is_above else "below"
        return _Derived(result, source, version_of(source), kind, self._zeros.has(threshold))

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

    def _product(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        return self._symmetric(args, kwargs, lambda x, other: self._from(other, x, "above"))

    def _sum(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``x + x.abs()``, twice the ReLU."""
        return self._symmetric(args, kwargs, lambda x, other: self._from(other, x, "abs"))

    def _difference(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``x - x.clamp(max=0)``."""
        x = _argument(args, kwargs, 0, "input")
        other = _argument(args, kwargs, 1, "other")
        if not isinstance(other, Tensor) or kwargs.get("alpha", 1) != 1:
            return None
        return self._with(x, self._from(other, x, "lower"))

    def _minimum(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``minimum(-x, zeros)`` and ``(-x).clamp(max=0)``, the opposite of the ReLU."""
        opposite = self._lowered("minimum", args, kwargs)
        return None if opposite is None else self._opposite(opposite)

    def _opposite(self, tensor: Tensor) -> tuple[Activation, Tensor] | None:
        derived = self._derived.get(id(tensor))
        if derived is None or derived.kind != "opposite":
            return None
        return self._with(derived.source, self._from(tensor, derived.source, "opposite"))

    def _lowered(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return the tensor of which a call keeps what is below zero, or None."""
        first = _argument(args, kwargs, 0, "input")
        if name in MINIMA:
            second = _argument(args, kwargs, 1, "other")
            for x, other in ((first, second), (second, first)):
                if isinstance(x, Tensor) and isinstance(other, Tensor) and self._zeros.has(other):
                    return x
            return None
        if name != "clamp_max" and _argument(args, kwargs, 1, "min") is not None:
            return None
        bound = _argument(args, kwargs, 1 if name == "clamp_max" else 2, "max")
        return first if isinstance(first, Tensor) and bound is not None and self._zeros.has(bound) else None

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
            lowered = self._lowered("clamp", args, kwargs)
            return None if lowered is None else self._opposite(lowered)
        return self._with(
            _argument(args, kwargs, 0, "input"), self._relu_if_zero_tensor(_argument(args, kwargs, 1, "min"))
        )

    def _bounded_above(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``(-x).clamp_max(0)``."""
        lowered = self._lowered("clamp_max", args, kwargs)
        return None if lowered is None else self._opposite(lowered)

    def _where(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        if len(args) < 3:
            args = (*args, *(kwargs[key] for key in ("input", "condition", "self", "other") if key in kwargs))
        if len(args) != 3:
            return None
        mask, first, second = args
        if id(mask) not in self._derived:  # Tensor.where(x, mask, other)
            mask = args[1]
            first = args[0]
        if self._zeros.has(second):
            return self._with(first, self._from(mask, first, "above"))
        if self._zeros.has(first):
            return self._with(second, self._from(mask, second, "below"))
        return None

    def _masked_fill(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Activation, Tensor] | None:
        """Match ``x.masked_fill(x < 0, 0)`` and ``x[x < 0] = 0``."""
        x = _argument(args, kwargs, 0, "input")
        mask = _argument(args, kwargs, 1, "mask")
        if not self._zeros.has(_argument(args, kwargs, 2, "value")):
            return None
        return self._with(x, self._from(mask, x, "below"))

    def _relu_if_zero_tensor(self, value: Any) -> Activation | None:
        return RELU if isinstance(value, Tensor) and self._zeros.has(value) else None

    @staticmethod
    def _with(x: Any, activation: Activation | None) -> tuple[Activation, Tensor] | None:
        return None if activation is None or not isinstance(x, Tensor) else (activation, x)


def _derived(result: Tensor, source: Tensor | None, kind: str | None) -> _Derived | None:
    """Return what a tensor without a threshold is; None where it is nothing that a ReLU is made of."""
    if source is None or kind is None:
        return None
    return _Derived(result, source, version_of(source), kind, is_zero_threshold=True)


def _cast(earlier: _Derived, name: str, result: Tensor) -> _Derived | None:
    """Return a cast or a negation of a derived tensor; None where it loses its meaning."""
    if earlier.kind not in {"above", "below"}:  # integers lose the sign of small numbers
        return earlier._replace(result=result) if name in CASTS and result.is_floating_point() else None
    if name in CASTS:
        return earlier._replace(result=result)
    if result.dtype != torch.bool:
        return None
    return earlier._replace(result=result, kind="below" if earlier.kind == "above" else "above")


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs.get(name)


_Matcher = Callable[[ComposedRelus, Sequence[Any], Mapping[str, Any]], tuple[Activation, Tensor] | None]

_MATCHERS: Mapping[str, _Matcher] = {
    **dict.fromkeys(PRODUCTS, ComposedRelus._product),  # noqa: SLF001 - the table of the class above
    **dict.fromkeys(SUMS, ComposedRelus._sum),  # noqa: SLF001 - as above
    **dict.fromkeys(DIFFERENCES, ComposedRelus._difference),  # noqa: SLF001 - as above
    **dict.fromkeys(MINIMA, ComposedRelus._minimum),  # noqa: SLF001 - as above
    **dict.fromkeys(MAXIMA, ComposedRelus._maximum),  # noqa: SLF001 - as above
    **dict.fromkeys(BOUNDS, ComposedRelus._bounded),  # noqa: SLF001 - as above
    "clamp_max": ComposedRelus._bounded_above,  # noqa: SLF001 - as above
    "where": ComposedRelus._where,  # noqa: SLF001 - as above
    "masked_fill": ComposedRelus._masked_fill,  # noqa: SLF001 - as above
    "setitem": ComposedRelus._masked_fill,  # noqa: SLF001 - as above
}
