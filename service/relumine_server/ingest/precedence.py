"""Small uploads take precedence: long work on large ones pauses while any of them is in progress.

All threads of a process share one interpreter. Whatever computes for seconds would hold up, a little at a time, every
step of the uploads of others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Pause: TypeAlias = Callable[[], None]
"""Called in the course of long work, as often as every millisecond: it returns at once, or after a pause."""

SLICE_S = 0.004
"""How long a large upload computes between two pauses."""

MAX_PAUSE_S = 0.02
"""The longest pause: however many small uploads come, a large one gets a sixth of the time."""


class Precedence:
    """Counts the work that is not to be delayed. It is counted in the event loop, and waited for in any thread."""

    def __init__(self) -> None:
        self._in_progress = 0
        self._is_idle = threading.Event()
        self._is_idle.set()
        self.last_small_at = -float("inf")
        """Time of ``time.monotonic`` at which a small upload began last."""

    @property
    def is_busy(self) -> bool:
        """True while there is work that is not to be delayed."""
        return self._in_progress > 0

    @contextmanager
    def small_upload(self) -> Iterator[None]:
        """Count a small upload for the duration of the block."""
        self.last_small_at = time.monotonic()
        with self.short_work():
            yield

    @contextmanager
    def short_work(self) -> Iterator[None]:
        """Count work that others wait for, such as a transaction on SQLite, for the duration of the block."""
        self._in_progress += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._is_idle.set()

    def pauses(self) -> Pause:
        """Return the pauses of one long piece of work, which runs in a thread."""
        pause_at = time.monotonic() + SLICE_S

        def pause() -> None:
            nonlocal pause_at
            if time.monotonic() >= pause_at:
                self._is_idle.wait(MAX_PAUSE_S)
                pause_at = time.monotonic() + SLICE_S

        return pause


def go_on() -> None:
    """Return at once: the pause of work that others wait for."""
