"""Process events: forks, SIGTERM, and identifiers that sort by time."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Protocol


def uuid7() -> str:
    """Return a UUIDv7 (RFC 9562) as text: 48 bits of milliseconds, then randomness from the operating system.

    It sorts by the time it was made: a resumed run's session sorts after the earlier ones. The standard library has
    uuid7 from Python 3.14 on. The user's random generators are never touched, so that a watched training draws the
    same numbers.
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


class SigtermHandler:
    """A handler that ends the run when SIGTERM arrives, then lets the signal end the process as it would have.

    Installed in the main thread only, and only where the application handles the signal by default. A scheduler's
    SIGTERM is how most long jobs end; without this handler their last second would be lost.
    """

    def __init__(self, on_sigterm: Callable[[], None]) -> None:
        self._on_sigterm = on_sigterm
        self._pid = os.getpid()
        self._is_installed = _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if self._is_installed:
            signal.signal(signal.SIGTERM, self._handle)

    def uninstall(self) -> None:
        """Restore the default, unless the application has replaced the handler since."""
        is_ours = self._is_installed and signal.getsignal(signal.SIGTERM) == self._handle
        if is_ours and _in_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._is_installed = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._on_sigterm()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
