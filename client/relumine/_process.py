"""What happens to the process: a fork, a SIGTERM. The SDK must not be what anybody notices of them."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Protocol


class Forked(Protocol):
    """What must let go in a child."""

    def disown(self) -> None:
        """Called in the child, once; must take no lock: another thread may have held it when the fork came."""
        ...


_watching: weakref.WeakSet[Forked] = weakref.WeakSet()


def leave_in_child(one: Forked) -> None:
    """Have ``one`` let go in every child that is forked from now on."""
    _watching.add(one)


def _in_child() -> None:
    for one in list(_watching):
        one.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Terminated:
    """Ends a run when SIGTERM comes, then lets it end the process as if nobody had looked.

    Only where nobody else handles the signal, and only in the main thread: a scheduler's SIGTERM is how most long jobs
    end, and without this the last second of them would be lost.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._set = False
        self._pid = os.getpid()
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)
            self._set = True

    def stop(self) -> None:
        """Give the signal back, if it is still ours and this is the main thread."""
        ours = self._set and signal.getsignal(signal.SIGTERM) == self._handle
        if ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._set = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._end()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
