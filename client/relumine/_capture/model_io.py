"""Samples of the model's input and output on a sampled step: for the input's range and the output's spread.

Only small samples are copied here, in the training thread; ``_export.run_aggregator`` computes the statistics.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from relumine._capture.step_stats import ModelIO
from relumine._torch.tensors import first_tensor, strided_sample
from relumine._torch.unwrap import unwrap

# Number of input values copied; a whole batch of images would cost more than all layers together.
MAX_INPUT_VALUES = 8_192

# Shape of the output that is copied: enough to tell whether the output depends on the input.
MAX_OUTPUT_EXAMPLES = 64
MAX_OUTPUT_VALUES = 1_024


class ModelIORecorder:
    """Copies samples of the first training forward of each sampled step."""

    def __init__(self) -> None:
        self._input: Tensor | None = None
        self._output: Tensor | None = None

    def record_input(self, inputs: Any, *, keep_sample: bool) -> int | None:
        """Return the number of examples of the first input tensor, or None if it has no batch dimension.

        If ``keep_sample``, also copy a sample of it, provided it holds floating-point numbers.
        """
        x = _first_readable(inputs)
        if x is None or x.dim() < 2:
            return None
        if keep_sample and self._input is None and x.is_floating_point() and x.numel() > 1:
            self._input = strided_sample(x, MAX_INPUT_VALUES)
        return x.shape[0]

    def record_output(self, output: Any) -> None:
        """Copy a sample of the first output tensor."""
        if self._output is not None:
            return
        y = _first_readable(output)
        if y is None or not y.is_floating_point() or y.dim() < 2 or y.shape[0] < 2 or not y.numel():
            return
        rows = y.detach()[:MAX_OUTPUT_EXAMPLES].flatten(1)
        stride = math.ceil(max(rows.shape[1], 1) / MAX_OUTPUT_VALUES)
        self._output = rows[:, ::stride].clone()

    def collect(self) -> ModelIO:
        """Return the samples and start over."""
        samples = ModelIO(self._input, self._output)
        self._input = None
        self._output = None
        return samples


def _first_readable(value: Any) -> Tensor | None:
    """Return the first tensor in a nested value, or None if it cannot be read: sparse, nested, without numbers."""
    tensor = first_tensor(value)
    return None if tensor is None else unwrap(tensor).tensor
