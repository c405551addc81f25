"""Turns by key: how many callers of one key may use something that is shared, such as connections to a database."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relumine_server.errors import Busy


class TurnsByKey:
    """Lets a few callers of each key in at once; the others wait in order, and are refused if it takes too long.

    It belongs to one event loop. An unused key takes no memory.
    """

    def __init__(self, per_key: int = 2, wait_s: float = 5.0) -> None:
        """Prepare turns: ``per_key`` callers of each key at once, the others wait at most ``wait_s``."""
        self._per_key = per_key
        self._wait_s = wait_s
        self._in_use: defaultdict[str, int] = defaultdict(int)
        self._queues: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    def __len__(self) -> int:
        """Return the number of keys that are in use."""
        return len(self._in_use)

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Hold a turn of a key for the duration of the block. Raises Busy where none became free in time."""
        await self._take(key)
        try:
            yield
        finally:
            self._give(key)

    async def _take(self, key: str) -> None:
        if self._in_use[key] < self._per_key:
            self._in_use[key] += 1
            return
        handed_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[key].append(handed_over)
        try:
            async with asyncio.timeout(self._wait_s):
                await handed_over
        except (TimeoutError, asyncio.CancelledError) as error:
            if handed_over.done() and not handed_over.cancelled():
                self._give(key)  # it was handed over at the very moment at which the wait ended
            elif key in self._queues and handed_over in self._queues[key]:
                self._queues[key].remove(handed_over)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def _give(self, key: str) -> None:
        """Hand a turn to the caller that has waited longest, if any waits."""
        queue = self._queues.get(key)
        while queue:
            waiting = queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._queues.pop(key, None)
        self._in_use[key] -= 1
        if not self._in_use[key]:
            del self._in_use[key]
