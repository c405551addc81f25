"""Which calls of torch are activations, and which of those can die. Pure: looks at a function and its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

_Judge: TypeAlias = "Callable[[Sequence[Any], Mapping[str, Any]], Activation | None]"

CANNOT_DIE = frozenset(
    {"leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "hardswish"}
)


class Activation(NamedTuple):
    """The name of an activation, and whether its units can die."""

    name: str
    can_die: bool


RELU, RELU6 = Activation("relu", can_die=True), Activation("relu6", can_die=True)


def classify(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    """The activation that this call is, if any. Every spelling of a ReLU counts: clamp(min=0), threshold(0, 0) too."""
    kind = _kind(function)
    return kind(args, kwargs) if callable(kind) else kind


@functools.lru_cache(maxsize=4096)
def _kind(function: Callable[..., Any]) -> Activation | _Judge | None:
    """What a function is whatever its arguments, or what judges by them; asked once per function of torch."""
    name = getattr(function, "__name__", "").strip("_")
    if name == "relu":
        return RELU
    if name in CANNOT_DIE:
        return Activation(name, can_die=False)
    return _BOUNDED.get(name)


def _clamp(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    low, high = _argument(args, kwargs, 1, "min"), _argument(args, kwargs, 2, "max")
    return _between(low, high)


def _clamp_min(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    return _between(_argument(args, kwargs, 1, "min"), None)


def _hardtanh(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    return _between(_argument(args, kwargs, 1, "min_val"), _argument(args, kwargs, 2, "max_val"))


def _threshold(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    limit, value = _argument(args, kwargs, 1, "threshold"), _argument(args, kwargs, 2, "value")
    return RELU if _is_zero(limit) and _is_zero(value) else None


def _between(low: Any, high: Any) -> Activation | None:
    if not _is_zero(low):
        return None
    if high is None:
        return RELU
    return RELU6 if isinstance(high, (int, float)) and high > 0 else None


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else kwargs.get(name)


_BOUNDED: Mapping[str, _Judge] = {
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "hardtanh": _hardtanh,
    "relu6": lambda _args, _kwargs: RELU6,
    "threshold": _threshold,
}
