"""The values that leave the training thread: the statistics of one sampled step, and logged numbers.

A tensor in them may still be being computed or copied by an accelerator.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

from relumine._capture.unit_sums import UnitSums

# Estimated size in memory of what the matrices do not account for.
SCALAR_NBYTES = 100
TENSOR_NBYTES = 4_000
WEIGHT_SAMPLES_NBYTES = 25_000

# Steps between two samples of norms, model input and output: every sample outside of a burst, a third of those in one.
NORMS_EVERY = 3


class SampledStep(NamedTuple):
    """The step being sampled. ``with_norms``: also copy what not every step of a burst needs (weights, model I/O).

    ``forward`` counts the forwards of the run, to tell a repeated call from another micro-batch.
    """

    step: int
    with_norms: bool
    forward: int = 0


class SumRow(IntEnum):
    """Rows of the matrix of one layer at one sampled step; see ``UnitSums`` for the first five.

    ``BIAS`` and ``NEW_BIAS`` hold the bias before and after the optimizer's update. ``MEAN_RESPONSE`` is W₁·x̄₀: the
    current weights applied to the mean input of the previous sample. ``NEXT_MEAN_RESPONSE`` is W₂·x̄₁: the weights
    after the update applied to the current mean input.
    """

    ACTIVE = 0
    SUM = 1
    SUM_SQUARES = 2
    MAX = 3
    ACTIVE_POSITIONS = 4
    BIAS = 5
    NEW_BIAS = 6
    MEAN_RESPONSE = 7
    NEXT_MEAN_RESPONSE = 8


class SumBuffer(NamedTuple):
    """A matrix of sums and its rows, reused from step to step: allocating one costs as much as filling it."""

    matrix: Tensor
    rows: tuple[Tensor, ...]
    sums: UnitSums
    free: deque[SumBuffer]

    @classmethod
    def allocate(cls, units: int, device: torch.device, free: deque[SumBuffer]) -> Self:
        """Return a new buffer of shape (len(SumRow), units) that ``release`` appends to ``free``."""
        matrix = torch.zeros((len(SumRow), units), dtype=torch.float32, device=device)
        rows = matrix.unbind()
        sums = UnitSums(
            active=rows[SumRow.ACTIVE],
            sum=rows[SumRow.SUM],
            sum_squares=rows[SumRow.SUM_SQUARES],
            max=rows[SumRow.MAX],
            active_positions=rows[SumRow.ACTIVE_POSITIONS],
        )
        return cls(matrix, rows, sums, free)

    def release(self) -> None:
        """Make the buffer available again. The sender's thread calls this once it has read the matrix."""
        self.free.append(self)


class WeightSamples(NamedTuple):
    """Strided samples of a layer's weights before and after the update and of their gradient.

    ``numel`` is the number of weights that the samples stand for. ``trainable``: they require a gradient.
    """

    previous: Tensor
    updated: Tensor
    grad: Tensor | None
    numel: int
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class ModelIO:
    """Samples of the model's input, shape (≤ 8,192,), and output, shape (≤ 64 examples, ≤ 1,024), at one step."""

    input: Tensor | None = None
    output: Tensor | None = None

    @property
    def measurement_count(self) -> int:
        """The number of statistics computed from the samples where all values are finite."""
        count = 0
        if self.input is not None:
            count += 4
        if self.output is not None:
            count += 1
        return count


@dataclass(slots=True)
class LayerStats:
    """One layer at one sampled step, as raw sums.

    Attributes:
        since_step: the previous sampled step, from which the change of the mean is split; None if there is none.
        is_consecutive: True if the previous sample was the previous step. Then its ``NEXT_MEAN_RESPONSE`` is this
            step's ``MEAN_RESPONSE``, and that row is not written.
        matrix: the rows of ``SumRow``, shape (len(SumRow), units). Rows that were not written hold any number.
        row_count: replaces ``examples`` and ``positions`` of a masked tap, where only the device knows their number.
        buffer: the buffer that ``matrix`` belongs to; to be released once the matrix was read.
    """

    layer_id: int
    step: int
    since_step: int | None
    is_consecutive: bool
    examples: int
    positions: int
    has_positions: bool
    has_bias: bool
    has_next_response: bool
    matrix: Tensor
    weights: WeightSamples | None = None
    learning_rate: float | None = None
    row_count: Tensor | None = None
    buffer: SumBuffer | None = None


class SampledForwards(NamedTuple):
    """The forwards of the watched models on one sampled step.

    ``recorded``: a layer that can die was recorded. ``trained``: a forward ran with gradients and in training mode.
    ``evaluated``: a forward, or a part of one, ran with gradients and in eval mode. ``saw_activation``: an activation
    that cannot die was observed. ``forwards``: how many of them were captured.
    """

    recorded: bool
    trained: bool
    evaluated: bool
    saw_activation: bool
    forwards: int


Number: TypeAlias = float | Tensor


@dataclass(frozen=True, slots=True)
class LoggedScalar:
    """A number logged by the training. A tensor is read in the sender's thread, which may wait for the device."""

    step: int
    name: str
    value: Number

    @property
    def nbytes(self) -> int:
        """The estimated size in memory."""
        return SCALAR_NBYTES


@dataclass(frozen=True, slots=True)
class StepStats:
    """One sampled step of all layers.

    Attributes:
        missing_layers: ids of layers that have now been missing for several sampled steps in a row.
        marks: the number of ``Monitor.mark`` calls since the previous sampled step.
        copy_events: the events of an accelerator to wait for before a tensor is read.
    """

    step: int
    layers: tuple[LayerStats, ...]
    model_io: ModelIO
    learning_rates: tuple[float, ...]
    loss: Number | None
    missing_layers: tuple[int, ...] = ()
    marks: int = 0
    copy_events: tuple[torch.cuda.Event, ...] = ()

    @property
    def nbytes(self) -> int:
        """The estimated size in memory: matrices, weight samples, and the overhead of the tensors themselves."""
        total = TENSOR_NBYTES
        for layer in self.layers:
            total += layer.matrix.nbytes + TENSOR_NBYTES
            if layer.weights is not None:
                total += WEIGHT_SAMPLES_NBYTES
        return total
