"""An account of the training that does not depend on the records: is it still being watched, and if not, why not?

Each tracker decides about some reasons from plain numbers. ``WatchingState`` combines their decisions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from relumine._capture.step_stats import SampledForwards
from relumine.schemas.watching import UnwatchedReason, Watching

# Sampled steps in a row without a recorded layer, from which it is certain that nothing is observed any more.
EMPTY_STEPS = 3

# Sampled steps in a row on which no gradient reached any layer, from which it is certain that none does.
UNCHANGED_STEPS = 3

# Ticks in a row on which parameters changed and no step was counted: where it is known how often one step changes them,
# and where it is not (one step of LBFGS changes them many times). The seconds between two ticks.
UNCOUNTED_TICKS = 3
FIRST_UNCOUNTED_TICKS = 30
TICK_S = 0.9

# Updates of the parameters without a counted step, from which it is certain that steps are missed.
UNCOUNTED_UPDATES = 10

# Rejected uploads in a row, and seconds without an accepted one.
REJECTED_UPLOADS = 3
NOT_ACCEPTED_S = 30.0

# Training forwards without an optimizer step, from which it is certain that steps are missed: without and with an
# earlier step to compare with.
FORWARDS_BEFORE_FIRST_STEP = 1_000
FORWARDS_PER_STEP = 256
FORWARDS_FACTOR = 8

# Steps of optimizers of no run, without one of ours, from which a training that ends has gone on without the model.
FOREIGN_STEPS = 100

# Seconds without a step after which forwards are counted.
COUNT_FORWARDS_AFTER_S = 5.0

# Optimizer steps without a recorded layer, as a multiple of the sampling interval.
STARVED_INTERVALS = 2.5

FORWARD_REASONS: tuple[UnwatchedReason, ...] = ("eval_mode", "no_forward", "no_activation", "nothing_can_die")


class WatchingState:
    """The reasons for which the training is not being watched. May be used by several threads.

    ``last_step`` is the last step at which a layer was recorded. ``on_change`` is called with each new state.
    """

    def __init__(self) -> None:
        self.last_step: int | None = None
        self.on_change: Callable[[Watching], None] | None = None
        self._reasons: set[UnwatchedReason] = set()
        self._published: UnwatchedReason | None = None
        # Reentrant: the SIGTERM handler may interrupt ``set`` and end the run in the same thread.
        self._lock = threading.RLock()

    @property
    def reason(self) -> UnwatchedReason | None:
        """The most important reason that holds; None while the training is being watched."""
        order: tuple[UnwatchedReason, ...] = get_args(UnwatchedReason)
        return next((reason for reason in order if reason in self._reasons), None)

    @property
    def current(self) -> Watching:
        """The state as it is sent."""
        reason = self.reason
        status = "watching" if reason is None else "unwatched"
        return Watching(state=status, reason=reason, last_step=self.last_step)

    def set(self, reason: UnwatchedReason, *, holds: bool) -> None:
        """Set whether a reason holds."""
        if holds == (reason in self._reasons):
            return
        with self._lock:
            if holds:
                self._reasons.add(reason)
            else:
                self._reasons.discard(reason)
            self._publish()

    def set_forward_reason(self, reason: UnwatchedReason | None) -> None:
        """Set which of the reasons that exclude each other holds: those about forwards."""
        if reason is None and not self._reasons:
            return
        with self._lock:
            self._reasons.difference_update(FORWARD_REASONS)
            if reason is not None:
                self._reasons.add(reason)
            self._publish()

    def _publish(self) -> None:
        current = self.current
        if current.reason != self._published:
            self._published = current.reason
            if self.on_change is not None:
                self.on_change(current)


@dataclass(slots=True)
class ForwardTracker:
    """Decides whether forwards are observed at all. ``reason`` is the decision."""

    reason: UnwatchedReason | None = None
    empty_steps: int = 0

    def add(self, forwards: SampledForwards, *, parameters_changed: bool) -> None:
        """Add a sampled step. ``parameters_changed``: the optimizer changed a parameter of the watched models."""
        if forwards.recorded:
            self.empty_steps = 0
            self.reason = None
            return
        # Another part of the training, as in a GAN or in phases, may step without any forward of the watched model.
        if not parameters_changed:
            return
        self.empty_steps += 1
        if self.empty_steps >= EMPTY_STEPS:
            self.reason = _forward_reason(forwards)


def _forward_reason(forwards: SampledForwards) -> UnwatchedReason:
    if forwards.evaluated:
        return "eval_mode"
    if forwards.saw_activation:
        return "nothing_can_die"
    return "no_activation" if forwards.trained else "no_forward"


@dataclass(slots=True)
class UncountedUpdates:
    """Decides whether parameters change without a counted step, from torch's version counters of some parameters.

    ``holds`` is the decision.
    """

    holds: bool = False
    _step: int = -1
    _versions: int = 0
    _ticks: int = 0
    _ticked_at_s: float = 0.0
    _step_at_sample: int | None = None
    _versions_at_sample: int = 0
    _versions_per_step: float | None = None

    def tick(self, step: int, versions: int, now_s: float) -> None:
        """Compare with the previous tick. ``versions`` is the sum of the version counters, ``now_s`` is monotonic."""
        # One long update must not be seen several times.
        if step == self._step and now_s - self._ticked_at_s < TICK_S:
            return
        self._ticked_at_s = now_s
        if step != self._step:
            self._ticks = 0
            self.holds = False
        elif versions > self._versions:
            self._ticks += 1
        self._step = step
        self._versions = versions
        if self._versions_per_step is None:
            self.holds = self.holds or self._ticks >= FIRST_UNCOUNTED_TICKS
        elif self._ticks >= UNCOUNTED_TICKS:
            self.check(step, versions)

    def sampled(self, step: int, versions: int) -> None:
        """Learn from a sampled step, directly after its update, by how much the counters grow per step."""
        if self._step_at_sample is not None and step > self._step_at_sample:
            growth = (versions - self._versions_at_sample) / (step - self._step_at_sample)
            self._versions_per_step = max(growth, self._versions_per_step or 1.0)
        self._step_at_sample = step
        self._versions_at_sample = versions

    def check(self, step: int, versions: int) -> None:
        """Decide at once whether more updates were made since the latest sampled step than steps were counted."""
        if self._versions_per_step is None:
            return
        updates = (versions - self._versions_at_sample) / self._versions_per_step
        counted = step - (self._step_at_sample or 0)
        if updates - counted >= UNCOUNTED_UPDATES:
            self.holds = True


@dataclass(slots=True)
class AcceptanceTracker:
    """Decides whether the server accepts nothing, from its answers and the time. ``holds`` is the decision."""

    holds: bool = False
    _rejected: int = 0
    _waiting_since: float | None = field(default=None)

    def accepted(self) -> None:
        """Count an upload that was accepted and analyzed."""
        self.holds = False
        self._rejected = 0
        self._waiting_since = None

    def rejected(self, now_s: float) -> None:
        """Count an upload that will never be accepted."""
        self._rejected += 1
        self.failed(now_s)
        self.holds = self.holds or self._rejected >= REJECTED_UPLOADS

    def failed(self, now_s: float) -> None:
        """Count a failed attempt; ``now_s`` is monotonic."""
        if self._waiting_since is None:
            self._waiting_since = now_s

    def tick(self, now_s: float) -> None:
        """Decide by the time that has passed since the first failure."""
        if self._waiting_since is not None and now_s - self._waiting_since >= NOT_ACCEPTED_S:
            self.holds = True


@dataclass(slots=True)
class StepClock:
    """Tells since when no step was counted."""

    _step: int = -1
    _since_s: float = 0.0

    def seconds_without_step(self, step: int, now_s: float) -> float:
        """Return how long ``step`` has been the latest step that was counted; ``now_s`` is monotonic."""
        if step != self._step:
            self._step = step
            self._since_s = now_s
        return now_s - self._since_s


def most_forwards_per_step(most_so_far: int) -> int:
    """Return how many training forwards may precede one optimizer step: gradients are accumulated over several."""
    if not most_so_far:
        return FORWARDS_BEFORE_FIRST_STEP
    return FORWARDS_PER_STEP + FORWARDS_FACTOR * most_so_far


def is_abandoned(foreign_steps: int, most_foreign_steps: int) -> bool:
    """Return True if other optimizers have stepped alone for so long that the training goes on without the model.

    A training may have optimizers that are not watched (a discriminator, a critic) and let them step for long.
    """
    return foreign_steps >= max(FOREIGN_STEPS, 3 * most_foreign_steps)


def is_starved(step: int, last_step: int, max_interval: int) -> bool:
    """Return True if no layer was recorded for much longer than the longest sampling interval, since ``last_step``."""
    return step - last_step > STARVED_INTERVALS * max_interval
