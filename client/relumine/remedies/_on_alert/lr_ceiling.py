"""A ceiling for an optimizer's learning rates, set when a remedy restores a learning rate that was safe."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from relumine._torch.optimizers import max_lr
from relumine.alert_actions import RemedyResult
from relumine.remedies._learning_rate import Schedulers, lower_learning_rate, scale_learning_rates

EQUAL_RTOL = 1e-3
"""Relative difference up to which two learning rates count as equal."""
SAFE_FACTOR = 2.0
"""Steps at up to this many times the ceiling count as safe too."""


class LearningRateCeiling:
    """Lowers learning rates, and before each step keeps the highest one at or below the ceiling, if there is one.

    A learning rate that rises again is held at the ceiling. Where it falls by itself, as after a spike, the reduction
    is reversed. ``scale`` is the factor between the learning rates as they are and as they would be.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Schedulers) -> None:
        self.scale = 1.0
        self._optimizer = optimizer
        self._schedulers = schedulers
        self._ceiling: float | None = None
        self._removed = 1.0  # the factor by which learning rates were reduced to get below the ceiling
        self._lr_before_reduction: float | None = None
        self._is_set_each_step = False  # the training assigns its learning rate at each step, whatever it was

    @property
    def safe_lr(self) -> float | None:
        """The highest learning rate at which a step counts as safe; None where no ceiling is set."""
        return None if self._ceiling is None else SAFE_FACTOR * self._ceiling

    def lower(self, factor: float, *, hold: bool) -> RemedyResult:
        """Lower all learning rates by a factor; with ``hold`` the highest one becomes the ceiling."""
        previous_lr = max_lr(self._optimizer)
        result = lower_learning_rate(self._optimizer, factor=factor, schedulers=self._schedulers)
        self.scale *= factor
        if hold:
            self._ceiling = max_lr(self._optimizer)
            self._removed *= factor
            self._lr_before_reduction = previous_lr
        elif self._ceiling is not None:
            self._ceiling *= factor
        return result

    def lower_groups(self, groups: list[int], factor: float) -> RemedyResult:
        """Lower the learning rates of these groups by a factor."""
        return lower_learning_rate(self._optimizer, factor=factor, schedulers=self._schedulers, groups=groups)

    def __call__(self, *_: Any) -> None:
        """Enforce the ceiling, as a hook before an optimizer step."""
        if self._ceiling is None:
            return
        lr = max_lr(self._optimizer)
        if lr > self._ceiling * (1 + EQUAL_RTOL):
            # The same learning rate as before the last reduction: the training has assigned it again.
            if self._lr_before_reduction is not None and _are_equal(lr, self._lr_before_reduction):
                self._is_set_each_step = True
            self._lr_before_reduction = lr
            self._rescale(self._ceiling / lr)
        elif 0 < lr < self._ceiling * (1 - EQUAL_RTOL) and self._removed < 1 and not self._is_set_each_step:
            self._rescale(min(self._ceiling / lr, 1 / self._removed))

    def _rescale(self, factor: float) -> None:
        if self._is_set_each_step:
            scale_learning_rates(self._optimizer, factor)
            return
        scale_learning_rates(self._optimizer, factor, self._schedulers)
        self.scale *= factor
        self._removed = min(1.0, self._removed * factor)


def _are_equal(lr: float, other: float) -> bool:
    return abs(lr - other) <= EQUAL_RTOL * other
