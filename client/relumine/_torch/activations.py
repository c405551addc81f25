"""Recognition of activations among torch calls, and of those whose units can die.

Pure: reads a function and its arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

_Matcher: TypeAlias = "Callable[[Sequence[Any], Mapping[str, Any]], Activation | None]"

CANNOT_DIE = frozenset(
    {"leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "hardswish"}
)


class Activation(NamedTuple):
    """An activation by name; ``can_die``: its output and gradient are 0 below a threshold."""

    name: str
    can_die: bool


RELU = Activation("relu", can_die=True)
RELU6 = Activation("relu6", can_die=True)
LEAKY_RELU = Activation("leaky_relu", can_die=False)
RRELU = Activation("rrelu", can_die=False)


@functools.lru_cache(maxsize=4096)
def call_name(function: Callable[..., Any]) -> str:
    """Return the name of a torch function, the same for all its forms: ``relu`` for ``relu_`` and ``aten.relu``."""
    name: str = getattr(function, "__name__", "")
    if name == "__get__":  # a property of a tensor
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    return name.partition(".")[0].strip("_")


def is_activation(name: str) -> bool:
    """Return True if calls with this name may be an activation, depending on their arguments."""
    return name == "relu" or name in CANNOT_DIE or name in _MATCHERS


def match_activation(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    """Return the activation that a torch call computes, or None.

    All spellings of a ReLU are recognised, ``clamp(min=0)``, ``threshold(0, 0)`` and ``leaky_relu(0)`` among them.
    """
    matcher = _matcher(function)
    return matcher(args, kwargs) if callable(matcher) else matcher


@functools.lru_cache(maxsize=4096)
def _matcher(function: Callable[..., Any]) -> Activation | _Matcher | None:
    """Return a function's activation where it does not depend on the arguments, else a matcher of the arguments.

    Cached, so that each function of torch is looked up once.
    """
    name = call_name(function)
    if name == "relu":
        return RELU
    if name in _MATCHERS:
        return _MATCHERS[name]
    return Activation(name, can_die=False) if name in CANNOT_DIE else None


def _clamp(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    return _clamp_kind(_argument(args, kwargs, 1, "min"), _argument(args, kwargs, 2, "max"))


def _clamp_min(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    return _clamp_kind(_argument(args, kwargs, 1, "min"), None)


def _hardtanh(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    return _clamp_kind(_argument(args, kwargs, 1, "min_val"), _argument(args, kwargs, 2, "max_val"))


def _threshold(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    threshold = _argument(args, kwargs, 1, "threshold")
    value = _argument(args, kwargs, 2, "value")
    return RELU if _is_zero(threshold) and _is_zero(value) else None


def _leaky_relu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    slope = _argument(args, kwargs, 1, "negative_slope")
    return RELU if _is_zero(slope) else LEAKY_RELU


def _rrelu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    slopes = (_argument(args, kwargs, 1, "lower"), _argument(args, kwargs, 2, "upper"))
    return RELU if all(map(_is_zero, slopes)) else RRELU


def _relu6(_args: Sequence[Any], _kwargs: Mapping[str, Any]) -> Activation | None:
    return RELU6


def _clamp_kind(low: Any, high: Any) -> Activation | None:
    if not _is_zero(low):
        return None
    if high is None:
        return RELU
    return RELU6 if isinstance(high, (int, float)) and high > 0 else None


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs.get(name)


_MATCHERS: Mapping[str, _Matcher] = {
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "rrelu": _rrelu,
    "relu6": _relu6,
    "threshold": _threshold,
}
