"""Pages of lists and their cursors. A cursor is opaque: base64 of a JSON list of the values that a page ended with."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar

from relumine.schemas.limits import MAX_STEP
from relumine_server.errors import InvalidCursor


class Nullable(NamedTuple):
    """A value of a kind, or null."""

    kind: type[datetime | str | float] | range


Kind: TypeAlias = type[datetime | str | float] | range | Nullable | str
"""What a value of a cursor may be; a text is that very text."""
STEPS = range(MAX_STEP + 1)
BEFORE_STEPS = range(-1, MAX_STEP + 1)  # after which a page begins: -1 is before the first step
COUNTS = range(2**31)  # of a column of type Integer: Postgres refuses to compare it with more
RowT = TypeVar("RowT")


def cut(rows: Sequence[RowT], limit: int, key: Callable[[RowT], Sequence[Any]]) -> tuple[list[RowT], str | None]:
    """Return the first ``limit`` rows, and the cursor of the next page if there are more rows.

    ``key`` returns the values that identify a row in the order of the list.
    """
    page = list(rows[:limit])
    next_cursor = encode(key(page[-1])) if len(rows) > limit else None
    return page, next_cursor


def encode(values: Sequence[Any]) -> str:
    """Return the cursor of a page that ends with these values."""
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts, ensure_ascii=False).encode()).decode()


def decode(cursor: str | None, *kinds: Kind) -> list[Any] | None:
    """Return the values of a cursor, one of each kind. Raises InvalidCursor if this server cannot have issued it."""
    if cursor is None:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        return [_read(value, kind) for value, kind in zip(values, kinds, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidCursor from None


def _read(value: Any, kind: Kind) -> Any:
    if isinstance(kind, str):
        return _read_constant(value, kind)
    if isinstance(kind, Nullable):
        return None if value is None else _read(value, kind.kind)
    if kind is datetime:
        return _read_time(value)
    if isinstance(kind, range):
        return _read_integer(value, kind)
    if kind is float:
        return _read_number(value)
    return _read_text(value)


def _read_constant(value: Any, text: str) -> str:
    if value != text:
        raise ValueError("a cursor of another list")
    return text


def _read_time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC)


def _read_integer(value: Any, allowed: range) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        raise ValueError("not an integer that the column can hold")
    return value


def _read_number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _read_text(value: Any) -> str:
    """Check that a database can hold a text: no NUL, and no half of a surrogate pair."""
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("not a text that a database can hold")
    return value
