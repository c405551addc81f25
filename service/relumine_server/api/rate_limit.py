"""Rate limits, counted in each process by itself: requests by key or address, and logins by address and key."""

from __future__ import annotations

from typing import TypeVar

from relumine_server.api.moving_window import MovingWindow
from relumine_server.errors import ProblemError, TooManyAttempts, TooManyRequests
from relumine_server.net.clients import UNKNOWN, counted_address

WINDOW_S = 10  # a short burst is allowed within it
MAX_FAILED_LOGINS_PER_MINUTE = 5  # of an address
MAX_LOGINS_PER_MINUTE = 60  # of a key: each stores a session


class RateLimiter:
    """Counts the requests of every key and address."""

    def __init__(self, per_second: int) -> None:
        self._is_off = per_second == 0
        self._window = MovingWindow(max(per_second, 1) * WINDOW_S, WINDOW_S)

    def take(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests with the time to wait; a refused request does not count."""
        if not self._is_off and not self._window.hit(caller):
            wait_s = self._window.wait_s(caller)
            problem = TooManyRequests(f"at most {self._window.limit} in {WINDOW_S} s; wait {wait_s} s")
            raise _with_retry_after(problem, wait_s)


class LoginAttempts:
    """Counts failed logins by address, to slow down guessing, and successful ones by key, because each stores a row.

    Failed ones never count against a valid key: another client behind the same address may have sent them.
    """

    def __init__(self) -> None:
        self._failed = MovingWindow(MAX_FAILED_LOGINS_PER_MINUTE, 60)
        self._successful = MovingWindow(MAX_LOGINS_PER_MINUTE, 60)

    def count_failed(self, address: str) -> None:
        """Count a login with a key that cannot log in. Raises TooManyAttempts with the time to wait."""
        _take_login(self._failed, address)

    def count_successful(self, key_id: str) -> None:
        """Count a login with a valid key. Raises TooManyAttempts with the time to wait."""
        _take_login(self._successful, key_id)


def _take_login(window: MovingWindow, caller: str) -> None:
    if not window.hit(caller):
        raise _with_retry_after(TooManyAttempts(), window.wait_s(caller))


ProblemT = TypeVar("ProblemT", bound=ProblemError)


def _with_retry_after(problem: ProblemT, wait_s: int) -> ProblemT:
    problem.headers = {"Retry-After": str(wait_s)}  # type: ignore[misc]  # of this instance alone
    return problem


def client_address(client: tuple[str, int] | None) -> str:
    """Return the address that requests are counted by; for IPv6 its /64 network, since every customer has one."""
    return UNKNOWN if client is None else counted_address(client[0])
