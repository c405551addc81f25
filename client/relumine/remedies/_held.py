"""An optimizer's rates as remedies left them: lowered in proportion, and held below a rate that was sound."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from relumine._applied import Applied
from relumine.remedies._rates import Schedulers, lower_learning_rate, scale_rates

SAME = 1e-3
"""Rates this near to each other, as a part, are one."""
SOUND = 2.0
"""Times the sound rate: what was made at up to it is taken for sound too."""


class Rates:
    """Lowers rates, and before each step holds the highest below the sound one, where one is known.

    A rate that creeps on is held there. Where it falls by itself, as after a spike, what was taken off is given back.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Schedulers) -> None:
        self.part = 1.0
        """Of the rates as they would be."""
        self._optimizer, self._schedulers = optimizer, schedulers
        self._most: float | None = None
        self._owed = 1.0  # what was taken off to get below the most, as a factor
        self._was: float | None = None  # the highest rate before it was last taken below the most
        self._outright = False  # whether the training sets its rate at each step, whatever it was

    @property
    def sound(self) -> float | None:
        """The rate up to which steps are taken for sound; None where no sound rate is known."""
        return None if self._most is None else SOUND * self._most

    def lower(self, factor: float, *, hold: bool) -> Applied:
        """As ``lower_learning_rate``; with ``hold`` the highest rate is from now on at most what it is then."""
        was = highest(self._optimizer)
        done = lower_learning_rate(self._optimizer, factor=factor, schedulers=self._schedulers)
        self.part *= factor
        if hold:
            self._most, self._owed, self._was = highest(self._optimizer), self._owed * factor, was
        elif self._most is not None:
            self._most *= factor
        return done

    def lower_groups(self, groups: list[int], factor: float) -> Applied:
        """As ``lower_learning_rate`` of these groups."""
        return lower_learning_rate(self._optimizer, factor=factor, schedulers=self._schedulers, groups=groups)

    def __call__(self, *_: Any) -> None:
        """The hook before a step."""
        if self._most is None:
            return
        now = highest(self._optimizer)
        if now > self._most * (1 + SAME):
            self._outright = self._outright or (self._was is not None and abs(now - self._was) <= SAME * self._was)
            self._was = now
            self._scale(self._most / now)
        elif 0 < now < self._most * (1 - SAME) and self._owed < 1 and not self._outright:
            self._scale(min(self._most / now, 1 / self._owed))

    def _scale(self, factor: float) -> None:
        scale_rates(self._optimizer, factor, () if self._outright else self._schedulers)
        if not self._outright:
            self.part *= factor
            self._owed = min(1.0, self._owed * factor)


def highest(optimizer: Optimizer) -> float:
    """The highest learning rate of its groups."""
    return max(float(group["lr"]) for group in optimizer.param_groups)
