"""Arrays as the wire has them: the smallest dtype that keeps what the reader needs, base64 of the bytes."""

from __future__ import annotations

import base64

import numpy as np

from relumine.wire import Array

COUNTS = frozenset({"active", "active_positions", "silent", "longest_silence"})
HALF = frozenset({"var", "max", "update_shift"})  # three decimals are enough for these
HALF_RANGE = (6e-5, 6e4)  # below, float16 loses its decimals; above, everything


def pack(name: str, values: Array) -> dict[str, str]:
    """A unit column (shape (units,)) as JSON. Made by hand: a checked ``wire.Column`` would cost ten times as much."""
    kind = _count(values.max(initial=0)) if name in COUNTS else _real(name, values)
    return {"dtype": kind, "data": base64.b64encode(values.astype("<" + kind).tobytes()).decode("ascii")}


def _real(name: str, values: Array) -> str:
    if name not in HALF:
        return "f4"
    largest = max(values.max(initial=0), -values.min(initial=0))
    low, high = HALF_RANGE
    return "f2" if largest == 0 or low < largest < high else "f4"


def _count(largest: np.floating) -> str:
    """The smallest unsigned integer of the wire that holds the count."""
    return "u1" if largest < 2**8 else "u2" if largest < 2**16 else "u4"
