"""When to look: pure decisions about which optimizer steps are sampled. No clock, no global randomness.

A jittered grid of ten steps (a fixed one aliases with periodic schedules), every step for a while after the
learning rate jumped, and fewer where looking would cost more than its share of the elapsed time.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from statistics import median

GRID = 10
JITTER = 0.3
FIRST_STEPS = 3  # born dead is decided on three records: take them at once
BURST_STEPS = 50  # deaths by a high rate take 1 to 18 steps
BURST_REST = 200  # after a burst, so that a rate that jumps for ever cannot make every step a sampled one
JUMP = 2.0  # against the running median of the rate
MEMORY = 51
GRANT_S = 1.0  # spent freely once per run, so that short runs are seen densely
DEBT_STEPS = 1_000  # what a burst overdraws is paid back within so many steps
BYTES_PER_S = 256 * 1024
BYTES_GRANT = 8 * 2**20  # as GRANT_S: short runs are sent whole


@dataclass(slots=True)
class Schedule:
    """Decides step by step. ``every`` fixes the interval; None means the jittered grid under the budget."""

    every: int | None
    max_overhead: float
    seed: int
    at_least: int = 1
    """The interval that the server asks for at least."""
    next_step: int = 1
    burst_until: int = 0
    bursts: int = 0
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - jitter, not secrecy; its own generator, never the user's

    def see_rate(self, step: int, rate: float | None) -> None:
        """Take note of the learning rate used at ``step`` (the largest over groups)."""
        if rate is None:
            return
        rested = not self.bursts or step >= self.burst_until + BURST_REST
        if self.every is None and rested and self._jumped(rate):
            self.burst_until = step + BURST_STEPS
            self.bursts += 1
            self.next_step = step + 1
        self._rates.append(rate)

    def is_due(self, step: int, *, spent_s: float, elapsed_s: float) -> bool:
        """Whether ``step`` is to be sampled. When it is, the following due step is set.

        ``spent_s`` is the time this SDK took so far, ``elapsed_s`` the time since watching began.
        """
        if step < self.next_step:
            return False
        in_burst = step <= self.burst_until
        self.next_step = step + self._interval(step, in_burst=in_burst)
        if self.every is not None:
            return True
        debt = DEBT_STEPS / max(step, DEBT_STEPS) if in_burst else 0.0
        allowance = GRANT_S + self.max_overhead * elapsed_s * (1 + debt)
        return step <= FIRST_STEPS or spent_s <= allowance

    def _interval(self, step: int, *, in_burst: bool) -> int:
        if self.every is not None:
            return max(self.every, self.at_least)
        if in_burst or step < FIRST_STEPS:
            return 1
        grid = max(GRID, self.at_least)
        return grid + round(self._random.uniform(-JITTER, JITTER) * grid)

    @property
    def interval(self) -> int:
        """The interval outside of bursts, before the budget lengthens it."""
        return max(self.every or GRID, self.at_least)

    def _jumped(self, rate: float) -> bool:
        """A warm-up ramp is no jump: it climbs by small parts of itself, a jump does so in one step."""
        if (
            len(self._rates) < 3 or rate < 0.75 * JUMP * self._rates[-1]
        ):  # the cheap question first: it is asked every step
            return False
        usual = median(self._rates)
        return usual > 0 and rate >= JUMP * usual


@dataclass(slots=True)
class ByteBudget:
    """Whether another record may be sent for itself, or is merged with the next. Bytes that were saved add up."""

    spent: int = 0

    def spend(self, count: int) -> None:
        """Note what was sent."""
        self.spent += count

    def allows(self, elapsed_s: float, *, planned: int) -> bool:
        """Whether ``planned`` bytes more are within the budget, ``elapsed_s`` seconds after the beginning."""
        return self.spent + planned <= BYTES_GRANT + BYTES_PER_S * elapsed_s
