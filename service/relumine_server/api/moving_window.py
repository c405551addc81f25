"""Counts the hits of every caller over a moving window of time, in bounded memory.

The library ``limits`` is not used: its counts in memory go by the time of day, so that callers are refused for as long
as a clock is set back, and it does not bound the number of callers.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

MAX_CALLERS = 10_000  # beyond it the caller is forgotten that has sent nothing for longest
SLOTS = 100  # a window moves on by a hundredth of its length; no caller needs more than so many counts


@dataclass(slots=True)
class _Hits:
    """The hits of one caller: their number, and by slot, the oldest first."""

    total: int = 0
    by_slot: deque[list[int]] = field(default_factory=deque)

    def drop_until(self, slot: int) -> None:
        while self.by_slot and self.by_slot[0][0] <= slot:
            self.total -= self.by_slot.popleft()[1]

    def add(self, slot: int) -> None:
        self.total += 1
        if self.by_slot and self.by_slot[-1][0] == slot:
            self.by_slot[-1][1] += 1
        else:
            self.by_slot.append([slot, 1])


class MovingWindow:
    """At most ``limit`` hits of each caller within ``seconds``, by the monotonic clock."""

    def __init__(self, limit: int, seconds: float, *, now: Callable[[], float] | None = None) -> None:
        self.limit = limit
        self._slot_s = seconds / SLOTS
        self._now = now or (lambda: time.monotonic())  # noqa: PLW0108 - tests replace the function
        self._callers: OrderedDict[str, _Hits] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of callers that are tracked."""
        return len(self._callers)

    def hit(self, caller: str) -> bool:
        """Count one; return False without counting if the limit is reached."""
        hits = self._callers.setdefault(caller, _Hits())
        self._callers.move_to_end(caller)
        if len(self._callers) > MAX_CALLERS:
            self._callers.popitem(last=False)
        slot = self._slot()
        hits.drop_until(slot - SLOTS)
        if hits.total >= self.limit:
            return False
        hits.add(slot)
        return True

    def wait_s(self, caller: str) -> int:
        """Return the seconds until one more is allowed, at least 1."""
        hits = self._callers.get(caller)
        if hits is None or not hits.by_slot:
            return 1
        free_at = (hits.by_slot[0][0] + SLOTS) * self._slot_s
        return max(ceil(free_at - self._now()), 1)

    def _slot(self) -> int:
        return int(self._now() / self._slot_s)
