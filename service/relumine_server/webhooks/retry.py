"""When a delivery is tried again, and when it is given up.

Pure: the time and the jitter are arguments. The schedule is the one Standard Webhooks recommends:
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

JITTER_SHARE = 0.1  # receivers that came back together are not struck together
MAX_RETRY_AFTER = timedelta(hours=24)  # no receiver may park a delivery for longer than the schedule does
GONE = 410

HOLDING_TRIES = 3
"""Tries (at once, after 5 s, after 5 min) during which later deliveries wait, so that a restart keeps the order.
After them a receiver may be away for long, or refuse this one delivery: then others go ahead."""
HOPELESS_AFTER, HOPELESS_FAILURES = timedelta(days=5), 20
"""Nothing but failures for so long, and so many: one delivery alone is given up after ten, two tell of a receiver."""

Verdict: TypeAlias = Literal["gone", "failing"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. ``status`` is null where no answer came; then ``error`` says why."""

    status: int | None
    duration_ms: int
    error: str | None = None
    answer: str | None = None
    retry_after: str | None = None

    @property
    def delivered(self) -> bool:
        """Only a 2xx is a delivery; a redirect is none."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The receiver says that it will never come back."""
        return self.status == GONE


def next_attempt(attempt: int, outcome: Outcome, now: datetime, jitter: float) -> datetime | None:
    """When to try again after attempt number ``attempt`` (from 1); None where there is nothing more to try.

    ``jitter`` lies in [0, 1) and only ever lengthens the wait.
    """
    if outcome.delivered or outcome.gone or attempt >= len(SCHEDULE):
        return None
    wait = max(SCHEDULE[attempt], requested_wait(outcome.retry_after, now))
    return now + wait * (1 + JITTER_SHARE * jitter)


def paused_until(outcome: Outcome, now: datetime) -> datetime | None:
    """Until when a receiver that failed asked not to be called at all; None where it did not."""
    wait = timedelta(0) if outcome.delivered else requested_wait(outcome.retry_after, now)
    return now + wait if wait else None


def verdict(outcome: Outcome, failures: int, since: datetime | None, now: datetime) -> Verdict | None:
    """Whether a webhook is to be disabled after this outcome, and why: it is gone, or was failing all the time.

    ``failures`` counts the attempts that failed since the last that did not, ``since`` is the moment of the first.
    """
    if outcome.gone:
        return "gone"
    long = since is not None and now - since >= HOPELESS_AFTER
    return "failing" if long and failures >= HOPELESS_FAILURES else None


def requested_wait(retry_after: str | None, now: datetime) -> timedelta:
    """What a ``Retry-After`` header asks for, in seconds or as a date; nothing where it cannot be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        seconds = int(text[:9])
        return min(timedelta(seconds=seconds), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return timedelta(0)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), MAX_RETRY_AFTER)
