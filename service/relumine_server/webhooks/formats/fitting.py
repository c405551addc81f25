"""Text that must fit: escaped for its reader, and cut so that no escape is torn apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_LONGEST_ESCAPE = 5  # ``&amp;``: so many characters at most for one that is taken away


def width(text: str) -> int:
    """The length as readers in UTF-16 count it, which is never less than what others count."""
    return len(text) + sum(char > "\uffff" for char in text)


def fitted(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """The escaped text, at most ``limit`` wide; what is left out shows as an ellipsis."""
    whole = escape(text)
    if width(whole) <= limit:
        return whole
    kept = text[:limit]
    while kept and (over := width(escape(kept)) + 1 - limit) > 0:
        kept = kept[: -max(1, over // _LONGEST_ESCAPE)]
    return escape(kept) + "…"


def address(url: str) -> str:
    """A URL without the characters that end a link in somebody's markup."""
    return url.translate({ord(char): f"%{ord(char):02X}" for char in ' <>|()"`\\'})


def compact(document: Any) -> str:
    """JSON as it is sent."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
