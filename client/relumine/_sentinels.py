"""What is looked at of the run as a whole on a sampled step: the range of its input, the spread of its output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

STRIDED = 65_536  # input values read; a whole batch of images would cost more than all layers together

INPUT_NAMES = ("input_mean", "input_std", "input_min", "input_max")


class Sentinels:
    """Gathers once per sampled step, from the first training forward."""

    def __init__(self) -> None:
        self._input: Tensor | None = None
        self._output: Tensor | None = None

    def see_input(self, inputs: tuple[Any, ...]) -> int | None:
        """Mean, deviation, least and greatest of the model's first input, if floating; how many examples it has."""
        x = _first(inputs)
        if x is None or x.dim() < 2:
            return None
        if self._input is None and x.is_floating_point() and x.numel() > 1:
            flat = x.detach().reshape(-1)
            flat = flat[:: math.ceil(flat.numel() / STRIDED)].float()
            self._input = torch.stack([flat.mean(), flat.std(), flat.min(), flat.max()])
        return x.shape[0]

    def see_output(self, output: Any) -> None:
        """Spread of the output over the examples, averaged over its entries: 0 where it depends on no input."""
        y = _first((output,))
        if self._output is not None or y is None or not y.is_floating_point() or y.dim() < 2 or y.shape[0] < 2:
            return
        self._output = y.detach()[:512].float().std(0).mean().reshape(1)

    def take(self) -> tuple[tuple[str, ...], Tensor | None]:
        """Names and values gathered (shape (len(names),)), and begin anew."""
        names: tuple[str, ...] = ()
        parts = []
        if self._input is not None:
            names, parts = INPUT_NAMES, [self._input]
        if self._output is not None:
            names, parts = (*names, "output_spread"), [*parts, self._output]
        self._input = self._output = None
        return names, torch.cat([part.to(parts[0].device) for part in parts]) if parts else None


def _first(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return next((found for part in value if (found := _first(part)) is not None), None)
    return None
