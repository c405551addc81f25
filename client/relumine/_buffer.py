"""What waits to be sent: bounded, drops the oldest, counts what it drops. Never blocks the thread that fills it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

MAX_ITEMS = 2_000
WAKE_ITEMS = 64


class Buffer:
    """A queue between the training thread and the sender. The sender is woken by size; by age it wakes itself."""

    def __init__(self, limit: int = MAX_ITEMS) -> None:
        self.dropped: dict[str, int] = {}
        self.wake = threading.Event()
        self._items: deque[Any] = deque()
        self._limit = limit
        self._lock = threading.Lock()
        self.oldest_at: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> None:
        """Add an item; where the buffer is full the oldest goes, and is counted."""
        with self._lock:
            if len(self._items) >= self._limit:
                self._items.popleft()
                self.count_dropped("buffer_full")
            if not self._items:
                self.oldest_at = time.monotonic()
            self._items.append(item)
        if len(self._items) >= WAKE_ITEMS:
            self.wake.set()

    def take(self, limit: int) -> list[Any]:
        """Up to ``limit`` of the oldest items."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(limit, len(self._items)))]

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Losses are told to the server with every upload, never silent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
