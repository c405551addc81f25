"""What waits to be sent: bounded, drops the oldest, counts what it drops. Never blocks the thread that fills it."""

from __future__ import annotations

import threading
from collections import deque

from relumine._sample import Logged, Sample

MAX_ITEMS, MAX_BYTES = 2_000, 24 * 2**20
NUMBERS = "numbers"  # why logged numbers were dropped; every other reason counts looks
WAKE_ITEMS, WAKE_BYTES = 64, 2**20


class Buffer:
    """A queue between the training thread and the sender. The sender is woken by size; by age it wakes itself."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self.dropped: dict[str, int] = {}
        self.wake = threading.Event()
        self.bytes = 0
        self._items: deque[Sample | Logged] = deque()
        self._limits = max_items, max_bytes
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Sample | Logged) -> None:
        """Add an item; where the buffer is full the oldest go, and are counted."""
        max_items, max_bytes = self._limits
        with self._lock:
            self._items.append(item)
            self.bytes += item.size
            while len(self._items) > max_items or (self.bytes > max_bytes and len(self._items) > 1):
                oldest = self._items.popleft()
                self.bytes -= oldest.size
                self.count_dropped("buffer_full" if isinstance(oldest, Sample) else NUMBERS)
        if len(self._items) >= WAKE_ITEMS or self.bytes >= WAKE_BYTES:
            self.wake.set()

    def take(self, limit: int) -> list[Sample | Logged]:
        """Up to ``limit`` of the oldest items."""
        with self._lock:
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self.bytes -= sum(item.size for item in taken)
        return taken

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Losses are told to the server with every upload, never silent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
