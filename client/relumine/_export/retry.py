"""The timing of retries after a failed request."""

from __future__ import annotations

import random
import time

from relumine._export.transport import TransportError

# Exponential backoff from the first to the second, with full jitter.
BACKOFF_S = (0.5, 30.0)

# Retries while a request has no response yet: three or four seconds, until the server counts as unreachable.
PENDING_RETRIES = 5
PENDING_PAUSE_S = 0.2

# The longest pause that a server may ask for.
MAX_RETRY_AFTER_S = 60.0


class RetryTimer:
    """The time of the next try, and the number of failed ones since the last success.

    ``is_awaited``: the latest try has not failed: its response is still awaited.
    """

    def __init__(self, seed: str) -> None:
        self.attempts = 0
        self.is_awaited = False
        self._retry_at = 0.0
        self._jitter = random.Random(seed)  # noqa: S311 - jitter; the user's generators stay untouched

    @property
    def remaining_s(self) -> float:
        """The seconds until the next try."""
        return max(self._retry_at - time.monotonic(), 0.0)

    def reset(self) -> None:
        """Forget failed tries after a success."""
        self.attempts = 0
        self.is_awaited = False
        self._retry_at = 0.0

    def retry_now(self) -> None:
        """Allow the next try at once."""
        self._retry_at = 0.0

    def is_pending(self, error: TransportError) -> bool:
        """Return True if the response is still awaited, and not for too long yet."""
        return error.pending and self.attempts < PENDING_RETRIES

    def schedule(self, error: TransportError) -> None:
        """Set the time of the next try; not before what the server asked for."""
        pause_s = PENDING_PAUSE_S
        self.is_awaited = self.is_pending(error)
        if not self.is_awaited:
            shortest, longest = BACKOFF_S
            backoff_s = self._jitter.uniform(0, min(longest, shortest * 2**self.attempts))
            pause_s = max(backoff_s, min(error.retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        self.attempts += 1
        self._retry_at = time.monotonic() + pause_s
