"""Identifiers that sort by the time they were made (UUIDv7, RFC 9562): a resumed run's session sorts after its past."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of milliseconds, then randomness from the operating system.

    The user's own random generators are never touched: a watched training draws the same numbers.
    """
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (noise >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | (noise & (2**62 - 1))
    return str(uuid.UUID(int=value))
