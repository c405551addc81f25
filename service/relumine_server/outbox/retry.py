"""The retry schedule of a delivery, and the rule that disables a webhook.

Pure: the time and the jitter are arguments. The schedule is the one that Standard Webhooks recommends:
ten attempts over a little more than three days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The wait before the first attempt, the second, and so on."""

JITTER_SHARE = 0.1  # endpoints that recover together do not get all their retries at the same moment
MAX_RETRY_AFTER = timedelta(hours=24)  # no endpoint may postpone a delivery for longer than the schedule does
LONGEST_WAIT = timedelta(hours=27)
"""No delivery and no pause waits longer: the longest wait of the schedule with its jitter, and ``MAX_RETRY_AFTER``."""
HTTP_GONE = 410

ORDERED_ATTEMPTS = 3
"""Attempts (at once, after 5 s, after 5 min) during which later deliveries wait, so that a restart keeps the order.

After them the endpoint may be down for long, or may reject this one delivery only: then later ones are sent first."""
DISABLE_AFTER = timedelta(days=5)
DISABLE_AFTER_FAILURES = 20
"""A webhook is disabled after this many failures without a success, over at least this long.

One delivery is attempted ten times, so that twenty failures are of two deliveries at least."""

DisableVerdict: TypeAlias = Literal["endpoint_gone", "failing"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt. ``response_status`` is None without a response; ``error`` then gives the cause."""

    response_status: int | None
    duration_ms: int
    error: str | None = None
    response_body: str | None = None
    retry_after: str | None = None

    @property
    def delivered(self) -> bool:
        """True for a 2xx response. A redirect is a failure."""
        return self.response_status is not None and 200 <= self.response_status < 300

    @property
    def endpoint_gone(self) -> bool:
        """True where the endpoint answered that it will never come back."""
        return self.response_status == HTTP_GONE


def next_attempt(attempt: int, outcome: Outcome, now: datetime, jitter: float) -> datetime | None:
    """Return the time of the attempt after number ``attempt`` (from 1); None where no further one follows.

    ``jitter`` lies in [0, 1) and only lengthens the wait.
    """
    if outcome.delivered or outcome.endpoint_gone or attempt >= len(SCHEDULE):
        return None
    wait = max(SCHEDULE[attempt], requested_wait(outcome.retry_after, now))
    return now + wait * (1 + JITTER_SHARE * jitter)


def paused_until(outcome: Outcome, now: datetime) -> datetime | None:
    """Return the time until which a failing endpoint asked for no requests at all; None where it did not ask."""
    if outcome.delivered:
        return None
    wait = requested_wait(outcome.retry_after, now)
    return now + wait if wait else None


def disable_verdict(
    outcome: Outcome, consecutive_failures: int, first_failure_at: datetime | None, now: datetime
) -> DisableVerdict | None:
    """Return the reason to disable a webhook after this outcome; None where it stays enabled.

    ``consecutive_failures`` counts the attempts since the last success, ``first_failure_at`` is the time of the first.
    """
    if outcome.endpoint_gone:
        return "endpoint_gone"
    if first_failure_at is None or consecutive_failures < DISABLE_AFTER_FAILURES:
        return None
    return "failing" if now - first_failure_at >= DISABLE_AFTER else None


def requested_wait(retry_after: str | None, now: datetime) -> timedelta:
    """Return the wait that a ``Retry-After`` header asks for, in seconds or as a date; zero where it is unreadable."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        seconds = int(text[:9])
        return min(timedelta(seconds=seconds), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return timedelta(0)
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(date - now, timedelta(0)), MAX_RETRY_AFTER)
