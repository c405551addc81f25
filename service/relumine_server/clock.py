"""The clock of the server. Everything that needs the time takes a ``Clock``, so that tests can set it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

import structlog

Clock: TypeAlias = Callable[[], datetime]
Monotonic: TypeAlias = Callable[[], float]
"""Seconds that never go back and never jump."""

JUMP_S = 2.0  # more than a time server corrects without a jump
TICK_S = 1.0
ABSENCE_S = 5.0  # a process that did not get to run for so long has missed uploads

_log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Uptime:
    """Since when this process has been able to receive uploads without a break, with a clock that did not jump.

    Silence before that is no silence of a training: the process was down or suspended, its database was away, or its
    clock was put forward. Safe to use from many threads.
    """

    def __init__(
        self, clock: Clock, monotonic: Monotonic | None = None, outages: Callable[[], int] = lambda: 0
    ) -> None:
        """Begin to observe.

        Args:
            clock: the clock that the rest of the server uses.
            monotonic: what the clock is compared with. Without it a clock of a test never jumps.
            outages: counts the moments at which the database was found to be away.
        """
        real = time.monotonic if clock is utc_now else lambda: clock().timestamp()
        self._clock = clock
        self._monotonic = monotonic or real
        self._outages = outages
        self._lock = threading.Lock()
        self._stop_requested = threading.Event()
        self._since = clock()
        self._started_s = self._observed_s = self._monotonic()
        self._offset_s = self._since.timestamp() - self._started_s
        self._outage_count = outages()
        self._jumped_s: float | None = None

    def since(self) -> datetime:
        """Return the time since which nothing kept this process from receiving uploads, by its clock."""
        with self._lock:
            self._observe()
            return self._since

    def seconds_up(self) -> float:
        """Return for how long this process has been running."""
        return self._monotonic() - self._started_s

    def seconds_since_jump(self) -> float | None:
        """Return how long ago the clock jumped; None if it never did."""
        with self._lock:
            self._observe()
            return None if self._jumped_s is None else self._observed_s - self._jumped_s

    def start(self) -> None:
        """Observe every second from now on, in a thread: a jump or a pause between two uploads is noticed too."""
        self._stop_requested.clear()
        threading.Thread(target=self._tick, name="relumine-uptime", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stop_requested.set()

    def _tick(self) -> None:
        ticked_s = self._monotonic()
        while not self._stop_requested.wait(TICK_S):
            with self._lock:
                self._observe()
                if self._observed_s - ticked_s > ABSENCE_S:
                    self._since = self._clock()
            ticked_s = self._monotonic()

    def _observe(self) -> None:
        now = self._clock()
        self._observed_s = self._monotonic()
        offset_s = now.timestamp() - self._observed_s
        jump_s = offset_s - self._offset_s
        outage_count = self._outages()
        if abs(jump_s) > JUMP_S:
            _log.warning("the clock of this machine jumped", by_s=round(jump_s))
            self._jumped_s = self._observed_s
            self._since = now
        if outage_count != self._outage_count:
            self._since = now
        self._offset_s = offset_s  # a slow correction moves it, and is no jump
        self._outage_count = outage_count
