"""The account of a training: feeds what the session sees to the trackers that decide whether it is being watched."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from relumine._capture.step_stats import SampledForwards
from relumine._monitor.sampling import MAX_INTERVAL
from relumine._monitor.watching import (
    COUNT_FORWARDS_AFTER_S,
    UNCHANGED_STEPS,
    AcceptanceTracker,
    ForwardTracker,
    StepClock,
    UncountedUpdates,
    WatchingState,
    is_abandoned,
    is_starved,
    most_forwards_per_step,
)
from relumine._torch.step_counter import StepCounter
from relumine._torch.tensors import sum_of_versions
from relumine.schemas.upload import UploadResponse

# The sampled step that waits for its optimizer is given up after this multiple of the forwards that are reported.
PATIENCE = 4

# Parameters whose versions are read: enough to see whether a part of the model trains.
MAX_PARAMETERS = 32


class TrainingAccount:
    """Counts what happens in the training, independently of what is recorded of it.

    Methods that begin with ``note_`` and ``tick`` are called in the sender thread, all others in the training thread.
    """

    def __init__(self, parameters: Sequence[Tensor], every: int | None) -> None:
        self.watching = WatchingState()
        self._parameters = _spread(parameters, MAX_PARAMETERS)
        self._max_interval = max(every or 0, MAX_INTERVAL)
        self._forwards = ForwardTracker()
        self._updates = UncountedUpdates()
        self._acceptance = AcceptanceTracker()
        self._clock = StepClock()
        self._versions = 0
        self._versions_recorded = 0
        self._most_forwards = 0
        self._first_step = 0
        # The latest step at which a sampled step was given up. Its forwards are not counted again from zero.
        self._given_up_at: int | None = None

    def start(self, step: int) -> None:
        """Begin at ``step``, before the first update."""
        self._first_step = step
        self._versions = sum_of_versions(self._parameters)
        self._versions_recorded = self._versions
        self._updates.sampled(step, self._versions)

    def add_sampled_step(self, step: int, forwards: SampledForwards) -> bool:
        """Add a sampled step after its update; return True if the next step should be sampled to be certain."""
        versions = sum_of_versions(self._parameters)
        self._updates.sampled(step, versions)
        self._forwards.add(forwards, parameters_changed=versions != self._versions)
        self._versions = versions
        self._most_forwards = max(self._most_forwards, forwards.forwards)
        if forwards.recorded:
            self.watching.last_step = step
            self._versions_recorded = versions
        self.watching.set("steps_not_seen", holds=False)
        self.watching.set_forward_reason(self._forwards.reason)
        return bool(self._forwards.empty_steps) and self._forwards.reason is None

    def misses_steps(self, step: int, forward_count: int = 0) -> bool:
        """Return True if steps certainly happen that are not counted, or none has happened for very long.

        ``step`` is the latest that was counted. After it parameters were updated many times, or ``forward_count``
        training forwards ran, many more than the training ever accumulated for one step.
        """
        self._updates.check(step, sum_of_versions(self._parameters))
        most_forwards = most_forwards_per_step(self._most_forwards)
        if forward_count > PATIENCE * most_forwards:
            self._given_up_at = step
        never_steps = forward_count > most_forwards or step == self._given_up_at
        self.watching.set("steps_not_seen", holds=self._updates.holds or never_steps)
        return self._updates.holds or step == self._given_up_at

    def end(self, step: int, forward_count: int, counter: StepCounter) -> None:
        """Decide what is left open. ``forward_count`` training forwards ran since ``step``, the latest counted."""
        never_stepped = step == self._first_step and bool(forward_count)
        went_on = is_abandoned(counter.foreign_steps, counter.most_foreign_steps)
        self.misses_steps(step, forward_count)
        if never_stepped or went_on:
            self.watching.set("steps_not_seen", holds=True)

    def disable(self) -> None:
        """Note that the SDK has disabled itself."""
        self.watching.set("disabled", holds=True)

    def note_response(self, response: UploadResponse) -> None:
        """Note that the server has accepted an upload."""
        if response.analyzed:
            self._acceptance.accepted()
        else:
            self._acceptance.failed(time.monotonic())
        self.watching.set("not_accepted", holds=self._acceptance.holds)

    def note_rejected(self) -> None:
        """Note that the server has refused an upload for good."""
        self._acceptance.rejected(time.monotonic())
        self.watching.set("not_accepted", holds=self._acceptance.holds)

    def note_failed(self) -> None:
        """Note that an upload could not be delivered so far."""
        self._acceptance.failed(time.monotonic())

    def tick(self, step: int, steps_without_gradient: int, uncaptured_forwards: int) -> bool:
        """Decide what only time can tell; return True while forwards should be counted, for want of a step.

        ``step`` is the latest that was counted. ``uncaptured_forwards`` are the training forwards counted since.
        """
        now_s = time.monotonic()
        versions = sum_of_versions(self._parameters)
        self._acceptance.tick(now_s)
        self._updates.tick(step, versions, now_s)
        waits_for_step = self._clock.seconds_without_step(step, now_s) > COUNT_FORWARDS_AFTER_S
        never_steps = waits_for_step and uncaptured_forwards > most_forwards_per_step(self._most_forwards)
        never_steps = never_steps or step == self._given_up_at
        self.watching.set("not_accepted", holds=self._acceptance.holds)
        self.watching.set("steps_not_seen", holds=self._updates.holds or never_steps)
        self.watching.set("parameters_unchanged", holds=steps_without_gradient >= UNCHANGED_STEPS)
        # Another part of the training may step for long, as in a GAN or in phases.
        has_changed = versions != self._versions_recorded
        last_step = self.watching.last_step or self._first_step
        self.watching.set("starved", holds=has_changed and is_starved(step, last_step, self._max_interval))
        return waits_for_step


def _spread(parameters: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return at most ``count`` parameters from all parts of the model, the last one included."""
    if len(parameters) <= count:
        return list(parameters)
    last = len(parameters) - 1
    return [parameters[round(index * last / (count - 1))] for index in range(count)]
