"""The places that a process has for connections, and who gets one when all are taken.

Connections that do nothing cost their sender nothing, so being first must not give a right to a place. When no place is
free, the connection that has been idle for longest is closed, of the address that has most connections.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

PROBE_PLACES = 16  # beyond the limit, for connections that ask for /livez or /readyz
STALLED_S = 1.0  # a connection that waits for its client for so long may have to give up its place

State: TypeAlias = Literal["idle", "waiting", "working"]
"""Without a request; waiting for the client to send a body or to read a response; answering."""


class Connection(Protocol):
    """A connection as this module sees it."""

    address: str
    is_from_proxy: bool

    def give_up_place(self) -> None:
        """Close, to make room for another connection."""
        ...


@dataclass(slots=True)
class _Address:
    """The connections of one address. Those that may be closed are in the order in which they came to rest."""

    is_proxy: bool
    states: dict[Connection, State] = field(default_factory=dict)
    idle: OrderedDict[Connection, float] = field(default_factory=OrderedDict)
    waiting: OrderedDict[Connection, float] = field(default_factory=OrderedDict)

    @property
    def weight(self) -> int:
        """The number of connections; 0 for a proxy, which has many clients."""
        return 0 if self.is_proxy else len(self.states)

    def oldest(self, now: float) -> Iterator[tuple[int, Connection]]:
        """Yield the oldest idle and the oldest stalled connection, each with the order in which to close them."""
        for connection in self.idle:
            yield 1, connection
            break
        for connection, since in self.waiting.items():
            if now - since >= STALLED_S:
                yield 0, connection
            break


class ConnectionPlaces:
    """Gives places to connections. Belongs to the event loop of one process."""

    def __init__(self, limit: int, per_address: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._per_address = per_address
        self._now = now
        self._addresses: dict[str, _Address] = {}
        self._count = 0
        self._reserved: OrderedDict[Connection, State] = OrderedDict()

    def add(self, connection: Connection) -> bool:
        """Give a new connection a place, if necessary that of another one; return False if there is none.

        The place may be a reserved one, which is for probes: the connection must ``claim`` it with its first request.
        """
        if not self._has_room_at_address(connection):
            return False
        if self._has_room(connection):
            self._take_place(connection, "idle")
            return True
        return self._reserve(connection)

    def is_reserved(self, connection: Connection) -> bool:
        """Return whether a connection has a reserved place."""
        return connection in self._reserved

    def claim(self, connection: Connection, *, is_probe: bool) -> bool:
        """Return whether a connection may send this request. One with a reserved place gets another if one is free."""
        if connection not in self._reserved:
            return True
        if self._has_room(connection):
            del self._reserved[connection]
            self._take_place(connection, "working")
            return True
        return is_probe

    def mark(self, connection: Connection, state: State) -> None:
        """Note what a connection does now."""
        if connection in self._reserved:
            self._reserved[connection] = state
            return
        group = self._addresses.get(connection.address)
        if group is None or group.states.get(connection, state) == state:
            return
        group.states[connection] = state
        group.idle.pop(connection, None)
        group.waiting.pop(connection, None)
        if state != "working":
            (group.idle if state == "idle" else group.waiting)[connection] = self._now()

    def remove(self, connection: Connection) -> None:
        """Free the place of a connection; does nothing if it has none."""
        self._reserved.pop(connection, None)
        group = self._addresses.get(connection.address)
        if group is None or group.states.pop(connection, None) is None:
            return
        self._count -= 1
        group.idle.pop(connection, None)
        group.waiting.pop(connection, None)
        if not group.states:
            del self._addresses[connection.address]

    def _take_place(self, connection: Connection, state: State) -> None:
        group = self._addresses.setdefault(connection.address, _Address(connection.is_from_proxy))
        group.states[connection] = state
        if state == "idle":
            group.idle[connection] = self._now()
        self._count += 1

    def _has_room_at_address(self, connection: Connection) -> bool:
        """Return whether the address may have one more connection, after closing one of its own if necessary."""
        group = self._addresses.get(connection.address)
        if not self._per_address or group is None or group.weight < self._per_address:
            return True
        return self._close_one_of([group])

    def _has_room(self, connection: Connection) -> bool:
        """Return whether a place is free, after closing a connection if necessary.

        None is closed of an address that has fewer than the newcomer's: it would get a place at their cost.
        """
        if self._count < self._limit:
            return True
        newcomer = self._addresses.get(connection.address)
        least = newcomer.weight if newcomer is not None else 0
        return self._close_one_of([group for group in self._addresses.values() if group.weight >= least])

    def _close_one_of(self, groups: list[_Address]) -> bool:
        now = self._now()
        candidates = ((order, group.weight, oldest) for group in groups for order, oldest in group.oldest(now))
        victim = max(candidates, key=lambda candidate: candidate[:2], default=None)
        if victim is None:
            return False
        self.remove(victim[2])
        victim[2].give_up_place()
        return True

    def _reserve(self, connection: Connection) -> bool:
        if len(self._reserved) >= PROBE_PLACES:
            oldest = next((other for other, state in self._reserved.items() if state == "idle"), None)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.give_up_place()
        self._reserved[connection] = "idle"
        return True
