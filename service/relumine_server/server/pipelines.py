"""Turns of connections that send further requests before they have a response.

A client that waits for each response has one request in the server. One that does not would have as many as it has
connections, and all others would wait beside them. So the requests of all pipelines are answered one after the other.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MAX_TURN_S = 1.0  # a request that takes longer, or waits for its client, does not hold up the other pipelines


class Connection(Protocol):
    """A connection as this module sees it."""

    def start_request(self) -> None:
        """Start the next request of the connection."""
        ...


class PipelineTurns:
    """Lets one connection after the other start a request. Belongs to the event loop of one process."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, None] = {}  # in the order in which they get their turn
        self._current: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, connection: Connection) -> None:
        """Start the connection's next request when it is its turn, at once if no other has one."""
        self._waiting[connection] = None
        if self._current is None:
            self._start_next()

    def end(self, connection: Connection) -> None:
        """Note that a connection has its response or is lost."""
        self._waiting.pop(connection, None)
        if connection is self._current:
            self._start_next()

    def _start_next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._current = next(iter(self._waiting), None)
        if self._current is not None:
            del self._waiting[self._current]
            self._timer = asyncio.get_running_loop().call_later(MAX_TURN_S, self._start_next)
            self._current.start_request()
