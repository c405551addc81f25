"""Numbers as a person reads them: percentages, counts, rates and durations. Pure, and the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGE_COUNT = 1_000_000
"""Count from which its digits say less than its size."""
LARGE_RATE = 1e9
"""Number from which its zeros are no longer counted at a glance."""
MAX_FACTOR = 1_000_000
"""Factor beyond which only its size matters."""


def percent(share: float) -> str:
    """Return a share as a percentage: ``<1%`` and ``>99%`` where rounding would give none or all."""
    rounded = round(100 * share)
    if rounded <= 0:
        return "<1%" if share > 0 else "0%"
    if rounded == 100 and share < 1:
        return ">99%"
    return f"{rounded:,}%"


def count(number: float) -> str:
    """Return a count with separators, from a million on in words."""
    if abs(number) < LARGE_COUNT:
        return f"{number:,.0f}"
    for size, word in ((1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(number) >= size:
            return f"{number / size:,.3g} {word}" if number < 1e18 else f"{number:.1e}"
    return f"{number:,.0f}"


def rate(value: float) -> str:
    """Return a number with three significant digits and no negative zero: ``0.05``, ``3e-07``, ``1,200``."""
    if value == 0:
        return "0"
    if 1000 <= abs(value) < LARGE_RATE:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rate_pair(first: float, second: float) -> tuple[str, str]:
    """Return two numbers, the second with the decimals of the first where it has one fewer: ``0.05``, ``0.30``."""
    texts = (rate(first), rate(second))
    if any("e" in text or "," in text for text in texts):
        return texts
    decimals, second_decimals = (len(text.partition(".")[2]) for text in texts)
    if decimals - second_decimals != 1:
        return texts
    return texts[0], f"{second:.{decimals}f}"


def factor(value: float) -> str:
    """Return a factor of at least 2, such as ``55×``."""
    if value >= MAX_FACTOR:
        return f"more than {MAX_FACTOR:,}×"
    return f"{value:.1f}×" if value < 10 else f"{value:,.0f}×"


def duration(seconds: float) -> str:
    """Return a duration in its largest sensible unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{count(seconds / 86_400)} days"


def measured(evidence: Mapping[str, Any], key: str, name: str | None = None) -> float | None:
    """Return a number of the evidence, ``key`` or ``key.name``; None where it is missing or not finite."""
    value = evidence.get(key)
    if name is not None:
        value = (value or {}).get(name)
    return value if value is not None and math.isfinite(value) else None
