"""How many requests each key or address may send, over a window that moves along; counted in each process alone."""

from __future__ import annotations

import ipaddress
from math import ceil
from time import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from relumine_server.errors import TooManyRequests

WINDOW_S = 10  # a burst within it is no crime
REMEMBERED = 10_000  # callers; when there are more, all are forgotten: memory is worth more than the count


class Rates:
    """Counts requests by whoever sends them."""

    def __init__(self, per_second: int) -> None:
        self._allowed = RateLimitItemPerSecond(max(per_second, 1) * WINDOW_S, WINDOW_S)
        self._is_off = per_second == 0
        self._forget()

    def _forget(self) -> None:
        self._storage = MemoryStorage()
        self._counted = MovingWindowRateLimiter(self._storage)

    def take(self, who: str) -> None:
        """Count a request. Raises TooManyRequests with the time to wait; such a one does not count."""
        if self._is_off:
            return
        if len(self._storage.events) > REMEMBERED:
            self._forget()
        if not self._counted.hit(self._allowed, who):
            raise self._refusal(who)

    def check(self, who: str) -> None:
        """Count nothing. Raises TooManyRequests where a request would be refused."""
        if not self._is_off and not self._counted.test(self._allowed, who):
            raise self._refusal(who)

    def _refusal(self, who: str) -> TooManyRequests:
        wait_s = max(ceil(self._counted.get_window_stats(self._allowed, who).reset_time - time()), 1)
        refusal = TooManyRequests(f"at most {self._allowed.amount} in {WINDOW_S} s; wait {wait_s} s")
        refusal.headers = {"Retry-After": str(wait_s)}  # type: ignore[misc]  # of this one alone
        return refusal


def address(client: tuple[str, int] | None) -> str:
    """Who a connection comes from; of IPv6 the network, since everybody has one full of addresses."""
    if client is None:
        return "?"
    try:
        ip = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else client[0]
