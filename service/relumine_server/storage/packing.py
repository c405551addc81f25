"""Columns of numbers as one blob, and back: a JSON header, then little-endian arrays. Missing numbers are NaN."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_LENGTH = struct.Struct("<I")


def pack(header: Mapping[str, Any], columns: Mapping[str, Array]) -> bytes:
    """Pack named one-dimensional arrays, each of its own dtype, with a header of JSON values."""
    layout = [[name, values.dtype.str, values.size] for name, values in columns.items()]
    text = json.dumps({**header, "columns": layout}, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(values.tobytes() for values in columns.values())])


def unpack(raw: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header and the arrays of a blob."""
    (length,) = _LENGTH.unpack_from(raw)
    at = _LENGTH.size + length
    header: dict[str, Any] = json.loads(raw[_LENGTH.size : at])
    columns = {}
    for name, dtype, size in header.pop("columns"):
        columns[name] = np.frombuffer(raw, np.dtype(dtype), size, at)
        at += columns[name].nbytes
    return header, columns


def numbers(values: Sequence[float | int | None]) -> Array:
    """A column of float64 in which None is NaN; integers are exact up to 2**53."""
    return np.array([np.nan if value is None else value for value in values], "<f8")
