"""Opaque cursors: where a list goes on, as base64 of JSON. Clients must not look inside."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, TypeGuard

from relumine.table import MAX_STEP
from relumine_server.errors import BadCursor


def encode(keys: list[Any]) -> str:
    """A cursor from the keys of the last row shown; the first is its time."""
    moment, *rest = keys
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), *rest]).encode()).decode()


def encode_name(name: str) -> str:
    """A cursor from the name of the last row shown."""
    return base64.urlsafe_b64encode(json.dumps(name).encode()).decode()


def decode_name(cursor: str | None) -> str | None:
    """The name in a cursor. Raises BadCursor for what this server never gave out."""
    if cursor is None:
        return None
    try:
        name = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, RecursionError):
        name = None
    if not _is_storable(name):
        raise BadCursor
    return name


def encode_step(step: int | None) -> str | None:
    """A cursor from the last step shown; None at the end."""
    return None if step is None else base64.urlsafe_b64encode(json.dumps(step).encode()).decode()


def decode_step(cursor: str | None) -> int | None:
    """The step in a cursor. Raises BadCursor for what this server never gave out."""
    if cursor is None:
        return None
    try:
        step = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, RecursionError):
        step = None
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= MAX_STEP:
        raise BadCursor
    return step


def decode(cursor: str | None, length: int) -> list[Any] | None:
    """The keys of a cursor. Raises BadCursor for what this server never gave out."""
    if cursor is None:
        return None
    try:
        moment, *rest = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        given = datetime.fromisoformat(moment)
        keys = [given.astimezone(UTC), *rest]
        good = len(keys) == length and given.tzinfo is not None and all(_is_storable(key) for key in rest)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        good, keys = False, []
    if not good:
        raise BadCursor
    return keys


def _is_storable(key: object) -> TypeGuard[str]:
    """Whether a database could hold it: a string without NUL and without halves of characters."""
    return isinstance(key, str) and "\0" not in key and not any("\ud800" <= sign <= "\udfff" for sign in key)
