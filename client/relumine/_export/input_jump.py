"""Jumps of the model's input, after which a layer may die within a few steps. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

# Measurements that the usual size of the input is taken from, and the fewest that allow a decision.
WINDOW = 21
MIN_MEASUREMENTS = 5

# A jump is a change of the size by at least this factor, up or down.
JUMP_FACTOR = 2.0


@dataclass(slots=True)
class InputJumpDetector:
    """Compares the size of each sampled input with the usual one. ``jumped`` stays True until it is reset."""

    jumped: bool = False
    _sizes: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, mean: float | None, std: float | None) -> None:
        """Add the mean and the standard deviation of one sampled input; None where they are not known."""
        if mean is None or std is None:
            return
        size = abs(mean) + std
        if len(self._sizes) >= MIN_MEASUREMENTS and self._is_jump(size):
            self.jumped = True
            self._sizes.clear()  # the new size is the usual one from now on
        self._sizes.append(size)

    def _is_jump(self, size: float) -> bool:
        usual = median(self._sizes)
        return size >= JUMP_FACTOR * usual > 0 or size <= usual / JUMP_FACTOR < usual
