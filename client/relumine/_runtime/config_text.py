"""The text of values of a configuration that are best known by one: paths, dates, enums, functions, classes, dtypes."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import os
import types
import uuid
from typing import Any

# Types of torch and numpy that name a choice.
_CHOICES = frozenset({"dtype", "device", "layout", "memory_format"})


def text_of_value(value: Any) -> str | None:
    """Return the text of such a value, None for any other. No code of the value's own type runs, except its ``str``."""
    for read in (_text, _moment, _code, _choice):
        text = read(value)
        if text is not None:
            return text
    return None


def qualified_name(value: Any) -> str:
    """Return the module and the name of a class or function."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__name__
    return f"{module}.{name}" if module and module != "builtins" else str(name)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, enum.Enum):
        return value.name
    return value if isinstance(value, str) else None


def _moment(value: Any) -> str | None:
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (dt.timedelta, dt.tzinfo, uuid.UUID, complex, range, slice)):
        return str(value)
    return None


def _code(value: Any) -> str | None:
    if isinstance(value, functools.partial):
        return f"partial({qualified_name(value.func)})"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return qualified_name(value)
    # A model: its parameters are no configuration.
    if any(base.__module__ == "torch.nn.modules.module" for base in type(value).__mro__):
        return qualified_name(type(value))
    return None


def _choice(value: Any) -> str | None:
    is_of_torch = type(value).__module__ == "torch" and type(value).__name__ in _CHOICES
    # Each dtype of numpy is of a type of its own.
    is_of_numpy = any((base.__module__, base.__name__) == ("numpy", "dtype") for base in type(value).__mro__)
    return str(value) if is_of_torch or is_of_numpy else None
