"""Words of messages: counts with their nouns, and lists of names."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """Return ``1 unit``, ``2 units``."""
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"


def join_names(names: Sequence[str], limit: int = 5) -> str:
    """Join the first ``limit`` names with commas, and say how many more there are."""
    text = ", ".join(names[:limit])
    remaining = len(names) - limit
    return f"{text} and {remaining} more" if remaining > 0 else text
