"""What is looked at of the run as a whole on a sampled step: the range of its input, the spread of its output.

Only a small regular part is copied here, in the training thread; ``_records`` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from relumine._part import part_of

STRIDED = 8_192  # input values read; a whole batch of images would cost more than all layers together
EXAMPLES, ENTRIES = 64, 1_024  # of the output: enough to see whether it depends on the input


@dataclass(frozen=True, slots=True)
class Seen:
    """Parts of the input (shape (≤ 8,192,)) and of the output (shape (≤ 64 examples, ≤ 1,024)) of one step."""

    input: Tensor | None = None
    output: Tensor | None = None

    @property
    def expected(self) -> int:
        """How many numbers are measured where all are finite."""
        return 4 * (self.input is not None) + (self.output is not None)


class Sentinels:
    """Gathers once per sampled step, from the first training forward."""

    def __init__(self) -> None:
        self._input: Tensor | None = None
        self._output: Tensor | None = None

    def see_input(self, inputs: tuple[Any, ...], *, keep: bool) -> int | None:
        """How many examples the model's first input has; ``keep`` a part of it, if it is floating."""
        x = _first(inputs)
        if x is None or x.dim() < 2:
            return None
        if keep and self._input is None and x.is_floating_point() and x.numel() > 1:
            self._input = part_of(x, STRIDED)
        return x.shape[0]

    def see_output(self, output: Any) -> None:
        """Keep a part of the model's first output."""
        y = _first((output,))
        if self._output is not None or y is None or not y.is_floating_point() or y.dim() < 2 or y.shape[0] < 2:
            return
        few = y.detach()[:EXAMPLES].reshape(min(y.shape[0], EXAMPLES), -1)
        self._output = few[:, :: math.ceil(max(few.shape[1], 1) / ENTRIES)].clone()

    def take(self) -> Seen:
        """What was gathered, and begin anew."""
        seen = Seen(self._input, self._output)
        self._input = self._output = None
        return seen


def _first(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return next((found for part in value if (found := _first(part)) is not None), None)
    return None
