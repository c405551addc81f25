"""The sampling schedule: pure decisions about which optimizer steps are sampled. No clock, no global randomness.

A jittered interval of ten steps (a fixed one aliases with periodic schedules), every step for a while after the
learning rate jumped, and fewer where sampling would cost more than its share of the elapsed time.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from statistics import median

BASE_INTERVAL = 10
JITTER = 0.3

# Born dead is decided on three records: these steps are always sampled.
FIRST_STEPS = 3

# Deaths by a high learning rate take 1 to 18 steps.
BURST_STEPS = 50

# Steps without another burst: a learning rate that keeps jumping must not make every step a sampled one.
BURST_COOLDOWN_STEPS = 200

# A burst may exceed the budget by what so many steps earn.
BURST_PAYBACK_STEPS = 1_000

# A jump is a learning rate of at least so many times the median of the latest ones.
JUMP_FACTOR = 2.0
LR_WINDOW = 51

# Seconds that a run may spend before the budget applies, so that short runs are sampled densely.
FREE_SECONDS = 1.0

# The longest interval that the server may ask for.
MAX_INTERVAL = 1_000


@dataclass(slots=True)
class SamplingSchedule:
    """A schedule that decides step by step.

    Attributes:
        every: the fixed interval; None for the jittered interval within the budget.
        max_overhead: the fraction of the elapsed time that sampling may take.
        seed: the seed of the jitter.
        min_interval: the shortest interval that the server allows.
        bursts: the number of bursts so far.
    """

    every: int | None
    max_overhead: float
    seed: int
    min_interval: int = 1
    bursts: int = field(default=0, init=False)
    _next_step: int = field(default=1, init=False)
    _burst_end: int = field(default=0, init=False)
    _recent_lrs: deque[float] = field(default_factory=lambda: deque(maxlen=LR_WINDOW), init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - jitter, not secrecy; the user's generator stays untouched

    @property
    def interval(self) -> int:
        """The interval outside of bursts, before jitter and budget."""
        base = BASE_INTERVAL if self.every is None else self.every
        return max(base, self.min_interval)

    def set_min_interval(self, steps: int) -> None:
        """Apply what the server asks for: it may only lengthen the interval."""
        self.min_interval = max(1, min(steps, MAX_INTERVAL))

    def observe_lr(self, step: int, lr: float | None) -> None:
        """Record the learning rate of ``step`` (the highest of all groups); start a burst where it jumped."""
        if lr is None:
            return
        has_rested = not self.bursts or step >= self._burst_end + BURST_COOLDOWN_STEPS
        if self.every is None and has_rested and self._is_jump(lr):
            self._burst_end = step + BURST_STEPS
            self.bursts += 1
            self._next_step = step + 1
        self._recent_lrs.append(lr)

    def is_due(self, step: int, *, spent_s: float, elapsed_s: float) -> bool:
        """Return True if ``step`` is to be sampled; schedule the next one whenever an interval ends.

        ``spent_s`` is what the SDK has spent so far, ``elapsed_s`` the time since watching began.
        """
        if step < self._next_step:
            return False
        in_burst = step <= self._burst_end
        self._next_step = step + self._draw_interval(step, in_burst=in_burst)
        if self.every is not None or step <= FIRST_STEPS:
            return True
        budget_s = self.max_overhead * elapsed_s
        if in_burst:
            # A burst may overdraw the budget by what the next BURST_PAYBACK_STEPS steps will earn at the present pace,
            # and by no more than what was earned so far.
            budget_s *= 1 + BURST_PAYBACK_STEPS / max(step, BURST_PAYBACK_STEPS)
        return spent_s <= FREE_SECONDS + budget_s

    def _draw_interval(self, step: int, *, in_burst: bool) -> int:
        if self.every is not None:
            return self.interval
        if in_burst or step < FIRST_STEPS:
            return 1
        return self.interval + round(self._random.uniform(-JITTER, JITTER) * self.interval)

    def _is_jump(self, lr: float) -> bool:
        """Return True if ``lr`` is far above the usual one. A warm-up ramp is no jump: it climbs by small factors."""
        # The comparison with the latest one is cheap and rules out nearly every step; the median is not cheap.
        if len(self._recent_lrs) < 3 or lr < 0.75 * JUMP_FACTOR * self._recent_lrs[-1]:
            return False
        usual = median(self._recent_lrs)
        return usual > 0 and lr >= JUMP_FACTOR * usual
