"""The runs of this process that are still open. At exit, and when SIGTERM arrives, all of them are ended together.

They are held weakly: a run must not outlive the training it belongs to only because it was never closed.
"""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import sys
import threading
import time
import weakref
from types import FrameType
from typing import Protocol

from relumine.schemas.upload import FinalStatus

# Seconds that the end of the process may take for all runs together.
EXIT_TIMEOUT_S = 2.0
SENDING_SHARE = 0.75
"""The share of it in which runs are sent: afterwards the rest of every run is written to disk, one after the other."""


class OpenRun(Protocol):
    """A run that can be ended in two parts, so that several runs are ended in the time of one."""

    def announce_end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Begin to end, without waiting."""
        ...

    def end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """End; wait for at most ``timeout_s`` seconds."""
        ...


_numbers = itertools.count()
_runs: weakref.WeakValueDictionary[int, OpenRun] = weakref.WeakValueDictionary()
_released: dict[int, OpenRun] = {}
_exit_is_registered = False


def add(run: OpenRun) -> None:
    """Have a run ended when the process ends. Called by each ``watch``."""
    global _exit_is_registered  # noqa: PLW0603 - one process, one registration
    _runs[next(_numbers)] = run
    if not _exit_is_registered:
        _exit_is_registered = True
        atexit.register(_end_at_exit)
    _install_sigterm_handler()


def add_released(run: OpenRun) -> None:
    """Wait at exit for a run whose training is gone. Takes no lock: the garbage collector calls it."""
    _released[id(run)] = run


def discard(run: OpenRun) -> None:
    """Forget a run that has ended."""
    _released.pop(id(run), None)
    for number, other in list(_runs.items()):
        if other is run:
            _runs.pop(number, None)
    if not _runs:
        _uninstall_sigterm_handler()


def all_open() -> list[OpenRun]:
    """Return the open runs, oldest first."""
    return [run for _, run in sorted(_runs.items(), key=lambda numbered: numbered[0])]


def _end_all(final_status: FinalStatus) -> None:
    sending_s = SENDING_SHARE * EXIT_TIMEOUT_S
    deadline = time.monotonic() + sending_s
    runs = all_open()
    for run in runs:
        run.announce_end(final_status, sending_s)
    for run in runs:
        run.end(final_status, max(0.0, deadline - time.monotonic()))
    for released in list(_released.values()):
        released.end("finished", max(0.0, deadline - time.monotonic()))


def _end_at_exit() -> None:
    # The script ended without ``close``. Where an exception ended it, the interpreter has set ``sys.last_value``.
    failed = getattr(sys, "last_value", None) is not None
    _end_all("failed" if failed else "finished")


def _install_sigterm_handler() -> None:
    """Handle SIGTERM where the application does not: a scheduler's SIGTERM is how most long jobs end.

    Without a handler their last second would be lost. One that the application installs takes precedence: it may well
    save a checkpoint and go on.
    """
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _uninstall_sigterm_handler() -> None:
    """Restore the default, unless the application has replaced the handler since."""
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """End every run as failed, then let the signal end the process as it would have."""
    _end_all("failed")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
