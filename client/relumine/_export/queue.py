"""The bounded queue between the training thread and the sender thread."""

from __future__ import annotations

import threading
from collections import deque

from relumine._capture.step_stats import LoggedScalar, StepStats

MAX_ITEMS = 2_000
MAX_BYTES = 24 * 2**20

# The sender is woken early by this much; by age it wakes up itself.
WAKEUP_ITEMS = 64
WAKEUP_BYTES = 2**20

# The reason under which dropped metrics are counted; every other reason counts sampled steps.
SCALARS = "metrics"


class SampleQueue:
    """A queue of sampled steps and logged metrics that never blocks its producer: when full, the oldest is dropped.

    ``dropped`` counts losses by reason. It travels with every upload, so that no loss is silent.
    """

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self.dropped: dict[str, int] = {}
        self.wakeup = threading.Event()
        self.is_urgent = False
        """True if what is queued is to be sent at once, until the sender sets it to False."""
        self.nbytes = 0
        self._items: deque[StepStats | LoggedScalar] = deque()
        self._max_items = max_items
        self._max_bytes = max_bytes
        # Reentrant: the SIGTERM handler may interrupt ``put`` and empty the queue in the same thread.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: StepStats | LoggedScalar) -> None:
        """Add an item; drop the oldest ones where the queue is full."""
        with self._lock:
            self._items.append(item)
            self.nbytes += item.nbytes
            while self._is_over_limit():
                oldest = self._items.popleft()
                self.nbytes -= oldest.nbytes
                self.count_dropped("buffer_full" if isinstance(oldest, StepStats) else SCALARS)
        if len(self._items) >= WAKEUP_ITEMS or self.nbytes >= WAKEUP_BYTES:
            self.wakeup.set()

    def hurry(self) -> None:
        """Wake the sender, and have everything queued so far sent at once."""
        self.is_urgent = True
        self.wakeup.set()

    def pop_batch(self, limit: int) -> list[StepStats | LoggedScalar]:
        """Remove and return up to ``limit`` of the oldest items."""
        with self._lock:
            count = min(limit, len(self._items))
            batch = [self._items.popleft() for _ in range(count)]
            self.nbytes -= sum(item.nbytes for item in batch)
        return batch

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Count a loss. Each reason is counted by one thread only, so that no update is lost."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    @property
    def dropped_steps(self) -> dict[str, int]:
        """The number of dropped sampled steps by reason."""
        losses = list(self.dropped.items())  # a copy: the other thread may add a reason meanwhile
        return {reason: count for reason, count in losses if reason != SCALARS}

    @property
    def dropped_metrics(self) -> int:
        """The number of dropped metrics."""
        return self.dropped.get(SCALARS, 0)

    def _is_over_limit(self) -> bool:
        if len(self._items) > self._max_items:
            return True
        return self.nbytes > self._max_bytes and len(self._items) > 1
