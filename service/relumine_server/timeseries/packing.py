"""Named arrays packed into bytes, and the error for bytes that cannot be unpacked. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np

from relumine.schemas.record_table import Array

_LENGTH = struct.Struct("<I")


class UnreadableError(ValueError):
    """Stored bytes are not what an encoder wrote: they are damaged, or of another version."""


def pack_columns(columns: Mapping[str, Array]) -> bytes:
    """Pack named one-dimensional arrays, each of its own dtype, behind a header in JSON."""
    layout = [[name, values.dtype.str, values.size] for name, values in columns.items()]
    header = json.dumps({"columns": layout}, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(header)), header, *(values.tobytes() for values in columns.values())])


def unpack_columns(raw: bytes) -> dict[str, Array]:
    """Unpack what ``pack_columns`` returned. Raises UnreadableError."""
    try:
        return _unpack(raw)
    except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


def _unpack(raw: bytes) -> dict[str, Array]:
    (length,) = _LENGTH.unpack_from(raw)
    offset = _LENGTH.size + length
    columns: dict[str, Array] = {}
    for name, dtype, size in json.loads(raw[_LENGTH.size : offset])["columns"]:
        columns[name] = np.frombuffer(raw, np.dtype(dtype), size, offset)
        offset += columns[name].nbytes
    return columns
