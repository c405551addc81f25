"""The sums of one layer while a step is being sampled."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from relumine._capture.repeated_calls import RepeatedCalls
from relumine._capture.step_stats import SumBuffer


@dataclass(slots=True)
class StepAccumulator:
    """The sums of one layer over the micro-batches of the current sampled step."""

    buffer: SumBuffer
    examples: int = 0
    positions: int = 0
    row_count: Tensor | None = None
    input_sum: Tensor | None = None
    input_count: int = 0
    since_step: int | None = None
    is_consecutive: bool = False
    has_bias: bool = False
    weights: Tensor | None = None
    forward: int = 0
    calls: RepeatedCalls | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    def finish_calls(self) -> None:
        """End a forward that called the layer several times."""
        if self.calls is not None:
            self.calls.finish()
            self.calls = None

    def add_input(self, input_sum: Tensor, count: int) -> None:
        """Add the input of one micro-batch."""
        self.input_sum = input_sum if self.input_sum is None else self.input_sum + input_sum
        self.input_count += count
