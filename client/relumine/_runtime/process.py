"""Process events: forks, and identifiers."""

from __future__ import annotations

import os
import time
import uuid
import weakref
from typing import Protocol


def uuid7() -> str:
    """Return a UUIDv7 (RFC 9562) as text: 48 bits of milliseconds, then randomness from the operating system.

    Nothing depends on the order of these: clocks differ. It only tends to be that of their creation. The standard
    library has uuid7 from Python 3.14 on. The user's random generators are never touched, so that a watched training
    draws the same numbers.
    """
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (noise >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | (noise & (2**62 - 1))
    return str(uuid.UUID(int=value))


class ForkAware(Protocol):
    """An object that must stop working in a forked child."""

    def detach_in_child(self) -> None:
        """Detach in the child. Must take no lock: another thread may have held it at the moment of the fork."""
        ...


_fork_aware: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register_at_fork(session: ForkAware) -> None:
    """Have ``session`` detached in every child that is forked from now on. It is held weakly."""
    _fork_aware.add(session)


def _detach_all_in_child() -> None:
    for session in list(_fork_aware):
        session.detach_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_detach_all_in_child)
