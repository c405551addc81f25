"""What a database can keep of a JSON value that users made: every one of them alike, on every database."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from relumine.table import MAX_STEP

MAX_CONFIG_NODES = 10_000


def check_storable(value: object) -> None:
    """Raise ValueError where a JSON value could not be stored alike everywhere: NaN, NUL, huge integers, depth."""
    stack: list[tuple[object, int]] = [(value, 0)]
    nodes = 0
    while stack:
        item, depth = stack.pop()
        nodes += 1
        if nodes > MAX_CONFIG_NODES or depth > 20:
            raise ValueError("config is too large or too deep")
        if isinstance(item, Mapping):
            stack.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, Sequence) and not isinstance(item, str):
            stack.extend((part, depth + 1) for part in item)
        elif not _is_storable_leaf(item):
            raise ValueError("config holds a value that cannot be stored")


def _is_storable_leaf(item: object) -> bool:
    if isinstance(item, str):
        return "\x00" not in item and len(item) <= 10_000
    if isinstance(item, float):
        return math.isfinite(item)
    return not isinstance(item, int) or abs(item) <= MAX_STEP
