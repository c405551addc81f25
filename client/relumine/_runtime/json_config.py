"""The configuration of a run as JSON: whatever a training script holds, cut to what a server stores. Pure.

``vars(args)``, dataclasses, OmegaConf and pydantic models, paths, numbers of numpy, dtypes, and anything else: a
training is never refused because of a value that describes it.
"""

from __future__ import annotations

import dataclasses
import decimal
import enum
import fractions
import functools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from relumine._runtime.config_text import qualified_name, text_of_value
from relumine._runtime.sendable import MAX_NAME, sendable_text, text_of
from relumine.schemas.limits import MAX_STEP

# Below the limits of ``schemas.upload.check_storable``: every upload carries the configuration.
MAX_VALUES = 4_000
MAX_DEPTH = 16
MAX_TEXT = 4_000
MAX_CHARACTERS = 100_000

# Arrays and tensors up to so many numbers are written out; of larger ones only shape and dtype.
MAX_ARRAY_SIZE = 64

CUT = "…"


def to_json_config(config: object) -> tuple[dict[str, Any], list[str]]:
    """Return ``config`` as a JSON object, and a note for each value that is not what it was.

    Args:
        config: a mapping, a namespace, a dataclass or a model; anything else is put under the key ``config``.

    Returns:
        The object, and notes such as ``"path.to.value: inf is no JSON number"``. Values whose text says all there is
        to say (a path, a dtype, an enum, a date) have no note.
    """
    if config is None:
        return {}, []
    writer = _Writer()
    value = writer.convert(config, "", 0)
    return (value if isinstance(value, dict) else {"config": value}), writer.notes


class _Writer:
    """Converts one value, and counts what it has written so far."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._values = 0
        self._characters = 0
        self._ancestors: set[int] = set()

    @property
    def _is_full(self) -> bool:
        return self._values > MAX_VALUES or self._characters > MAX_CHARACTERS

    def convert(self, value: object, path: str, depth: int) -> Any:
        """Return the value as JSON; never raises an Exception, whatever the value's own code does."""
        self._values += 1
        if self._is_full:
            return self._note(path, "cut: the configuration is too large", CUT)
        try:
            return self._convert(value, path, depth)
        except Exception as error:  # noqa: BLE001 - properties, iterators and texts of the user's objects run here
            return self._note(path, f"cannot be read ({type(error).__name__})", self._text(type(value).__name__))

    def _convert(self, value: object, path: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float, decimal.Decimal, fractions.Fraction)):
            return self._number(value, path)
        text = text_of_value(value)
        if text is not None:
            return self._text(text, path)
        if all(hasattr(value, name) for name in ("dtype", "shape", "tolist")):
            return self._array(value, path, depth)
        return self._container(value, path, depth)

    def _number(self, value: Any, path: str) -> Any:
        """Return a number that JSON and both databases hold exactly, else its text."""
        if isinstance(value, int) and abs(value) > MAX_STEP:
            text = str(value) if value.bit_length() < 1_000 else f"an integer of {value.bit_length()} bits"
            return self._note(path, "larger than 2^53", self._text(text))
        if isinstance(value, int):
            return int(value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        return self._note(path, f"{number} is no JSON number", str(number))

    def _text(self, text: str, path: str | None = None) -> str:
        """Return text of a bounded length, with line ends and tabs as they are."""
        lines = text[:MAX_TEXT].split("\n")
        sendable = "\n".join(
            "\t".join(sendable_text(part, 2 * MAX_TEXT) for part in line.split("\t")) for line in lines
        )
        sendable = sendable[:MAX_TEXT]
        if len(text) > MAX_TEXT:
            sendable = sendable[: MAX_TEXT - 1] + CUT
            if path is not None:
                self._note(path, f"cut to {MAX_TEXT:,} of {len(text):,} characters", None)
        self._characters += len(sendable)
        return sendable

    def _array(self, value: Any, path: str, depth: int) -> Any:
        """Return a small array or tensor as numbers, a larger one as its shape and dtype."""
        size = math.prod(int(length) for length in value.shape)
        if size <= MAX_ARRAY_SIZE:
            return self.convert(value.tolist(), path, depth + 1)
        kind = type(value).__name__
        summary = f"{kind} of shape {tuple(int(length) for length in value.shape)}, {value.dtype}"
        return self._note(path, f"only its shape is sent: {size:,} numbers", self._text(summary))

    def _container(self, value: object, path: str, depth: int) -> Any:
        """Return a mapping, a sequence or an object with its parts."""
        if id(value) in self._ancestors:
            return self._note(path, "contains itself", CUT)
        if depth >= MAX_DEPTH:
            return self._note(path, "cut: nested too deep", self._text(type(value).__name__))
        self._ancestors.add(id(value))
        try:
            return self._parts(value, path, depth)
        finally:
            self._ancestors.discard(id(value))

    def _parts(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._object([(key, functools.partial(value.__getitem__, key)) for key in value], path, depth)
        if isinstance(value, (Sequence, AbstractSet, deque)) and not hasattr(value, "_fields"):
            return self._array_of(value, path, depth)
        names = _field_names(value)
        if names:
            return self._object([(name, functools.partial(_field, value, name)) for name in names], path, depth)
        return self._note(path, f"sent as text ({type(value).__name__})", self._text(_described(value)))

    def _array_of(self, value: Any, path: str, depth: int) -> list[Any]:
        items = sorted(value, key=text_of) if isinstance(value, AbstractSet) else value
        result = []
        for index, item in enumerate(items):
            result.append(self.convert(item, f"{path}[{index}]", depth + 1))
            if self._is_full:
                break
        return result

    def _object(self, fields: list[tuple[object, Any]], path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, read in fields:
            name = sendable_text(key.name if isinstance(key, enum.Enum) else text_of(key), MAX_NAME)
            while name in result:
                name = sendable_text(f"{name}'", MAX_NAME)
            self._characters += len(name)
            field_path = f"{path}.{name}" if path else name
            try:
                value = read()
            except Exception as error:  # noqa: BLE001 - a missing value of OmegaConf, a property that fails
                result[name] = self._note(field_path, f"cannot be read ({type(error).__name__})", None)
                continue
            result[name] = self.convert(value, field_path, depth + 1)
            if self._is_full:
                break
        return result

    def _note(self, path: str, note: str, replacement: Any) -> Any:
        self.notes.append(f"{path or 'config'}: {note}")
        return replacement


def _field_names(value: Any) -> list[str]:
    """Return the names of an object's fields: of a dataclass, a model of pydantic or attrs, a namespace, any object."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return list(getattr(value, "_fields", ()))  # a named tuple
    names = list(getattr(value, "__dict__", ()))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in dict.fromkeys(map(str, names)) if not name.startswith("_") and hasattr(value, name)]


def _field(value: Any, name: str) -> Any:
    """Return a field, from the object's own dictionary where it is there: reading an attribute may run code."""
    fields = getattr(value, "__dict__", {})
    return fields[name] if name in fields else getattr(value, name)


def _described(value: object) -> str:
    """Return the ``repr`` of a value, or the name of its type where that holds only an address."""
    if type(value).__repr__ is object.__repr__:
        return qualified_name(type(value))
    return repr(value)
