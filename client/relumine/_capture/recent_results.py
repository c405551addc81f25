"""The last few results of a forward, by the identity of a tensor."""

from __future__ import annotations

from typing import Any

# Results remembered of each kind; a ReLU reads its mask soon after it was computed.
MAX_REMEMBERED = 8


def put(memory: dict[int, Any], key: int, value: Any) -> None:
    """Remember a result as the newest one, and forget the oldest if there are too many."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]
