"""Hints about input scale and initial biases that make units go inactive more easily. A hint flags nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from relumine._analysis.calls import tensors_in
from relumine._analysis.layer_chains import ChainLayer
from relumine._capture.step_stats import LayerStats, SumRow

MEAN_OVER_STD_MAX = 1.0  # |mean| over standard deviation: beyond it the mean alone decides many units' sign
INPUT_RMS_MAX = 10.0  # root mean square of inputs: beyond it an ordinary bias has no effect, and updates are huge
BIAS_SIGMA_MIN = -1.0  # lowest ordinary bias, in standard deviations of its unit's pre-activation
CONSTANT_MEAN_OVER_STD = 1e6  # stands for the mean over standard deviation of inputs that are constant and not 0


@dataclass(frozen=True, slots=True)
class Hint:
    """Something worth changing, though nothing is lost: ``value`` is the number it rests on, by its ``kind``.

    ``input_mean``: the mean of a layer's inputs over their standard deviation. ``input_scale``: their root mean square.
    ``initial_bias``: the median bias in standard deviations of its unit's pre-activation. ``few_examples``: the number
    of examples, too few to judge an inactive layer by.
    """

    kind: Literal["input_mean", "input_scale", "initial_bias", "few_examples"]
    layer: str
    value: float
    text: str


def input_hints(layers: Iterable[ChainLayer], names: Mapping[int, str], model_inputs: Any) -> Iterator[Hint]:
    """Yield hints on layers that read the model's own inputs unchanged, reshaped at most.

    ``names`` are the names of the activations, by the id of their layer's weight.
    """
    pointers = {tensor.data_ptr() for tensor in tensors_in(model_inputs) if tensor.is_floating_point()}
    for layer in layers:
        if layer.input.data_ptr() in pointers and id(layer.weight) in names:
            values = layer.input.detach().double()
            hint = _input_hint(names[id(layer.weight)], values[values.isfinite()])
            if hint is not None:
                yield hint


def _input_hint(layer: str, values: Tensor) -> Hint | None:
    if values.numel() < 2:
        return None
    mean = float(values.mean())
    std = float(values.std())
    rms = float(values.square().mean().sqrt())
    text = f"The inputs of {layer} have mean {mean:.3g} and standard deviation {std:.3g}{_sign_text(values)}"
    text += f": subtract {mean:.3g} and divide by {std:.3g}" if std else f": subtract {mean:.3g}"
    if std:
        mean_over_std = mean / std
    elif mean:
        mean_over_std = CONSTANT_MEAN_OVER_STD
    else:
        mean_over_std = 0.0
    if abs(mean_over_std) >= MEAN_OVER_STD_MAX:
        return Hint("input_mean", layer, mean_over_std, text)
    if rms >= INPUT_RMS_MAX:
        return Hint("input_scale", layer, rms, text)
    return None


def _sign_text(values: Tensor) -> str:
    if float(values.max()) <= 0:
        return ", none of them positive"
    if float(values.min()) >= 0:
        return ", none of them negative"
    return ""


def few_examples_hint(layer: str, examples: int) -> Hint:
    """Return the hint on a layer that is inactive on too few examples to call it dead."""
    text = f"Layer {layer} is inactive on all of {examples} examples, too few to call it born dead: use 30 or more"
    return Hint("few_examples", layer, float(examples), text)


def bias_hint(layer: str, stats: LayerStats | None) -> Hint | None:
    """Return the hint on a layer if half of its units start with a bias far below 0; else None."""
    if stats is None or not stats.has_bias or not stats.positions:
        return None
    matrix = stats.matrix.double()
    mean = matrix[SumRow.SUM] / stats.positions
    variance = matrix[SumRow.SUM_SQUARES] / stats.positions - mean.square()
    sigma = variance.clamp(min=0).sqrt().clamp(min=1e-6)
    median = float(torch.nan_to_num(matrix[SumRow.BIAS] / sigma).median())
    if median > BIAS_SIGMA_MIN:
        return None
    text = f"The biases of {layer} start {-median:.3g} standard deviations below 0 (median): start at 0"
    return Hint("initial_bias", layer, median, text)
