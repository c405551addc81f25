"""The sampling schedule: pure decisions about which optimizer steps are sampled. No clock, no global randomness.

A jittered interval of ten steps (a fixed one aliases with periodic schedules), shorter ones while a training is young,
every step for a while after the learning rate or the input jumped, and fewer where sampling would cost more than its
share of the elapsed time. At least every hundredth step is sampled, whatever it costs.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from relumine._torch.step_hook import LR_WINDOW, SMALLEST_LR_JUMP

BASE_INTERVAL = 10
JITTER = 0.3

# Most trainings that die do so early. Until so many steps were watched the interval is a shorter one.
YOUNG_STEPS = 1000
YOUNG_INTERVAL = 5

# The jitter is the same in every run, so that the same training is sampled at the same steps and gets the same alerts.
JITTER_SEED = 7

# The longest interval: units can die within a few hundred steps.
MAX_INTERVAL = 100

# Born dead is decided on three records: these steps are always sampled.
FIRST_STEPS = 3

# A start that kills, such as a learning rate that is too high, does so within ten to twenty steps: so many steps are
# watched at an interval that is shorter still.
START_STEPS = 12
START_INTERVAL = 3

# Deaths by a high learning rate take 1 to 18 steps.
BURST_STEPS = 50

# Steps without another burst: a learning rate that keeps jumping must not make every step a sampled one.
BURST_COOLDOWN_STEPS = 200

# A jump is a learning rate of at least so many times the median of the latest ones.
JUMP_FACTOR = 2.0

# Seconds that a run may spend before the budget applies, so that short runs are sampled densely.
FREE_SECONDS = 1.0


@dataclass(slots=True)
class SamplingSchedule:
    """A schedule that decides step by step.

    Attributes:
        every: the fixed interval; None for the jittered interval within the budget.
        max_overhead: the fraction of the elapsed time that sampling may take.
        min_interval: the shortest interval that the server allows outside of bursts.
        origin: the steps made before watching began: a training that is resumed is young again.
        bursts: the number of bursts so far.
        next_step: the next step that ``is_due`` has to be asked about.
        recent_lrs: the latest learning rates, one per step. Those that ``SMALLEST_LR_JUMP`` rules out as a jump may be
            appended without a call of ``observe_lr``.
    """

    every: int | None
    max_overhead: float
    min_interval: int = 1
    origin: int = field(default=0, init=False)
    bursts: int = field(default=0, init=False)
    next_step: int = field(default=1, init=False)
    recent_lrs: deque[float] = field(default_factory=lambda: deque(maxlen=LR_WINDOW), init=False)
    _last_sampled: int = field(default=0, init=False)
    _forced_step: int = field(default=0, init=False)
    _burst_end: int = field(default=0, init=False)
    _burst_interval: int = field(default=1, init=False)
    _requested_burst: int | None = field(default=None, init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(JITTER_SEED)  # noqa: S311 - jitter, not secrecy; the user's generator stays untouched

    def interval_at(self, step: int) -> int:
        """Return the interval after ``step`` outside of bursts, before jitter and budget."""
        interval = YOUNG_INTERVAL if step - self.origin < YOUNG_STEPS else BASE_INTERVAL
        return max(interval if self.every is None else self.every, self.min_interval)

    def request_interval(self, steps: int) -> None:
        """Apply the interval that the server asks for: a longer one until further notice, a shorter one for a burst.

        May be called in any thread.
        """
        if steps < BASE_INTERVAL:
            self.min_interval = 1
            self.request_burst(max(1, steps))
        else:
            self.min_interval = min(steps, MAX_INTERVAL)

    def request_burst(self, interval: int = 1) -> None:
        """Ask for a burst because something other than the learning rate jumped. May be called in any thread."""
        self._requested_burst = interval

    def is_burst(self, step: int) -> bool:
        """Return True if ``step`` is within a burst."""
        return step <= self._burst_end

    def observe_lr(self, step: int, lr: float | None) -> None:
        """Record the learning rate of ``step`` (the highest of all groups); start a burst where it jumped."""
        if lr is None:
            return
        if self._is_jump(lr):
            self._start_burst(step, interval=1)
        self.recent_lrs.append(lr)

    def sample_next(self, step: int) -> None:
        """Make the step after ``step`` due, whatever the budget."""
        self._forced_step = step + 1
        self.next_step = step + 1

    def is_due(self, step: int, *, spent_s: float, elapsed_s: float) -> bool:
        """Return True if ``step`` is to be sampled; schedule the next one whenever an interval ends.

        ``spent_s`` is what sampling has cost so far, ``elapsed_s`` the time since watching began.
        """
        if step < self.next_step:
            return False
        if self._requested_burst is not None:
            self._start_burst(step - 1, self._requested_burst)
            self._requested_burst = None
        is_due = self._is_granted(step, spent_s, elapsed_s)
        if is_due:
            self._last_sampled = step
        self.next_step = step + self._draw_interval(step)
        if self.every is None:
            self.next_step = min(self.next_step, self._last_sampled + MAX_INTERVAL)
        return is_due

    def _is_granted(self, step: int, spent_s: float, elapsed_s: float) -> bool:
        """Return True if ``step`` may be sampled.

        Bursts and the longest interval are granted as a debt: until the budget has covered it, other steps are not
        sampled.
        """
        is_start = step - self.origin <= START_STEPS
        if self.every is not None or is_start or self.is_burst(step):
            return True
        if step == self._forced_step or step - self._last_sampled >= MAX_INTERVAL:
            return True
        return spent_s <= FREE_SECONDS + self.max_overhead * elapsed_s

    def _draw_interval(self, step: int) -> int:
        interval = self.interval_at(step)
        if self.every is not None:
            return interval
        if self.is_burst(step):
            return self._burst_interval
        watched_steps = step - self.origin
        if watched_steps < FIRST_STEPS:
            return 1
        if watched_steps < START_STEPS:
            return START_INTERVAL
        return interval + round(self._random.uniform(-JITTER, JITTER) * interval)

    def _start_burst(self, step: int, interval: int) -> None:
        """Sample the steps after ``step`` densely for a while, unless a burst has ended only recently."""
        has_rested = not self.bursts or step >= self._burst_end + BURST_COOLDOWN_STEPS
        if self.every is not None or not has_rested:
            return
        self._burst_end = step + BURST_STEPS
        self._burst_interval = interval
        self.bursts += 1
        self.next_step = step + 1

    def _is_jump(self, lr: float) -> bool:
        """Return True if ``lr`` is far above the usual one. A warm-up ramp is no jump: it climbs by small factors."""
        # The comparison with the latest one is cheap and rules out nearly every step; the median is not cheap.
        if len(self.recent_lrs) < 3 or lr < SMALLEST_LR_JUMP * self.recent_lrs[-1]:
            return False
        usual = median(self.recent_lrs)
        return usual > 0 and lr >= JUMP_FACTOR * usual
