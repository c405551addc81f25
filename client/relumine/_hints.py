"""What of inputs and first biases makes units silent more easily than need be: hints with a number, and no verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from relumine._chains import Link
from relumine._site import BIAS, ROWS, Snapshot

TOTAL, SQUARE = ROWS.index("total"), ROWS.index("square")
OFF_CENTRE = 1.0  # |mean| over spread: from there on the mean alone decides the sign of many pre-activations
LARGE = 10.0  # root mean square of inputs: with it a bias of ordinary size means nothing, and updates are huge
SUNK = -1.0  # standard deviations of its pre-activation by which a bias lies below 0


@dataclass(frozen=True, slots=True)
class Hint:
    """Worth changing, though nothing is lost: ``value`` is the number that it rests on (``kind`` says which).

    ``input_mean``: the mean of a layer's inputs over their spread. ``input_scale``: their root mean square.
    ``initial_bias``: the median bias in standard deviations of its unit's pre-activation.
    ``few_examples``: their number, where so few say nothing of a layer that is silent.
    """

    kind: Literal["input_mean", "input_scale", "initial_bias", "few_examples"]
    layer: str
    value: float
    text: str


def of_inputs(links: Iterable[Link], names: Mapping[int, str], given: Any) -> Iterator[Hint]:
    """Of layers that read the model's own inputs as they were given, reshaped at most."""
    own = {tensor.data_ptr() for tensor in _tensors(given)}
    for link in links:
        if link.read.data_ptr() in own and id(link.weight) in names:
            values = link.read.detach().double()
            hint = _of_values(names[id(link.weight)], values[values.isfinite()])
            if hint is not None:
                yield hint


def _tensors(given: Any) -> Iterator[Tensor]:
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, tuple) else (given,)
    yield from (part for part in parts if isinstance(part, Tensor) and part.is_floating_point())


def _of_values(layer: str, values: Tensor) -> Hint | None:
    if values.numel() < 2:
        return None
    mean, spread = float(values.mean()), float(values.std())
    size = float(values.square().mean().sqrt())
    side = ", none of them negative" if float(values.min()) >= 0 else ""
    side = ", none of them positive" if float(values.max()) <= 0 else side
    seen = f"The inputs that {layer} rests on have mean {mean:.3g} and standard deviation {spread:.3g}{side}"
    todo = f"subtract {mean:.3g} and divide by {spread:.3g}" if spread else f"subtract {mean:.3g}"
    ratio = abs(mean) / spread if spread else float(mean != 0) * 1e6
    if ratio >= OFF_CENTRE:
        return Hint("input_mean", layer, mean / spread if spread else ratio, f"{seen}: {todo}")
    return Hint("input_scale", layer, size, f"{seen}: {todo}") if size >= LARGE else None


def of_examples(layer: str, examples: int) -> Hint:
    """Of a layer that is silent on too few examples to call it dead."""
    text = f"Layer {layer} is silent on all of {examples} examples, too few to call it born dead: give 30 or more"
    return Hint("few_examples", layer, float(examples), text)


def of_bias(layer: str, snapshot: Snapshot | None) -> Hint | None:
    """Of a layer of which half of the units begin with a bias far below what its inputs can outweigh."""
    if snapshot is None or not snapshot.has_bias or not snapshot.positions:
        return None
    matrix = snapshot.matrix.double()
    variance = matrix[SQUARE] / snapshot.positions - (matrix[TOTAL] / snapshot.positions).square()
    sigma = variance.clamp(min=0).sqrt().clamp(min=1e-6)
    middle = float(torch.nan_to_num(matrix[BIAS] / sigma).median())
    if middle > SUNK:
        return None
    text = f"The biases of {layer} begin {-middle:.3g} standard deviations below 0 (median): begin at 0"
    return Hint("initial_bias", layer, middle, text)
