"""Rate limits, counted in each process by itself: requests by key or address, and logins by address."""

from __future__ import annotations

import ipaddress
from math import ceil
from time import time
from typing import TypeVar

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from relumine_server.errors import ProblemError, TooManyAttempts, TooManyRequests

WINDOW_S = 10  # a short burst is allowed within it
MAX_TRACKED = 10_000  # callers; beyond it all counts are dropped, because memory matters more than the count
MAX_LOGINS_PER_MINUTE = 5


class RateLimiter:
    """Counts the requests of every key and address."""

    def __init__(self, per_second: int) -> None:
        self._is_off = per_second == 0
        self._window = _Window(RateLimitItemPerSecond(max(per_second, 1) * WINDOW_S, WINDOW_S))

    def take(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests with the time to wait; a refused request does not count."""
        if not self._is_off and not self._window.hit(caller):
            raise self._problem(caller)

    def check(self, caller: str) -> None:
        """Raise TooManyRequests if a request would be refused, without counting one."""
        if not self._is_off and not self._window.has_room(caller):
            raise self._problem(caller)

    def _problem(self, caller: str) -> TooManyRequests:
        wait_s = self._window.wait_s(caller)
        problem = TooManyRequests(f"at most {self._window.limit.amount} in {WINDOW_S} s; wait {wait_s} s")
        return _with_retry_after(problem, wait_s)


class LoginAttempts:
    """Counts the logins of every address."""

    def __init__(self) -> None:
        self._window = _Window(RateLimitItemPerMinute(MAX_LOGINS_PER_MINUTE))

    def take(self, client: str) -> None:
        """Count a login. Raises TooManyAttempts with the time to wait; a refused login does not count."""
        if not self._window.hit(client):
            raise _with_retry_after(TooManyAttempts(), self._window.wait_s(client))


class _Window:
    """A moving window over the hits of every caller, with a bound on the callers that are tracked."""

    def __init__(self, limit: RateLimitItem) -> None:
        self.limit = limit
        self._reset()

    def _reset(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)

    def hit(self, caller: str) -> bool:
        """Count one; return False if the limit is reached."""
        if len(self._storage.events) > MAX_TRACKED:
            self._reset()
        return self._limiter.hit(self.limit, caller)

    def has_room(self, caller: str) -> bool:
        """Return True if one more would be allowed."""
        return self._limiter.test(self.limit, caller)

    def wait_s(self, caller: str) -> int:
        """Return the seconds until one more is allowed, at least 1."""
        return max(ceil(self._limiter.get_window_stats(self.limit, caller).reset_time - time()), 1)


ProblemT = TypeVar("ProblemT", bound=ProblemError)


def _with_retry_after(problem: ProblemT, wait_s: int) -> ProblemT:
    problem.headers = {"Retry-After": str(wait_s)}  # type: ignore[misc]  # of this instance alone
    return problem


def client_address(client: tuple[str, int] | None) -> str:
    """Return the address that requests are counted by; for IPv6 its /64 network, since every customer has one."""
    if client is None:
        return "?"
    try:
        ip = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else client[0]
