"""Turns of connections that send further requests before they have a response.

A client that waits for each response has one request in the server. One that does not would have as many as it has
connections, and all others would wait beside them. So the requests of all pipelines are answered one after the other,
with a rest after each: the others have the process to themselves for most of the time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MAX_TURN_S = 1.0  # a request that takes longer, or waits for its client, does not hold up the other pipelines
RESTS = 2.0
"""The rest after a request, as a multiple of the time that it took: all pipelines together have a third of the time."""


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
        self._started_at = 0.0
        self._is_resting = False
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, connection: Connection) -> None:
        """Start the connection's next request when it is its turn, at once if no other had one just now."""
        self._waiting[connection] = None
        if self._current is None and not self._is_resting:
            self._start_next()

    def end(self, connection: Connection) -> None:
        """Note that a connection has its response or is lost."""
        self._waiting.pop(connection, None)
        if connection is self._current:
            self._rest()

    def _rest(self) -> None:
        self._current = None
        self._is_resting = True
        took_s = asyncio.get_running_loop().time() - self._started_at
        self._set_timer(min(RESTS * took_s, MAX_TURN_S))

    def _start_next(self) -> None:
        self._is_resting = False
        self._cancel_timer()
        self._current = next(iter(self._waiting), None)
        if self._current is not None:
            del self._waiting[self._current]
            self._started_at = asyncio.get_running_loop().time()
            self._set_timer(MAX_TURN_S)
            self._current.start_request()

    def _set_timer(self, seconds: float) -> None:
        """Start the next request after so many seconds."""
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start_next)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
