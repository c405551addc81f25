"""Scalars of a layer over the steps of one record, and its units within the aggregator's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from relumine._capture.step_stats import LayerStats, SumRow
from relumine._export.norms import norms_of
from relumine.schemas.record_table import Array


class UnitIndex(NamedTuple):
    """The units of some layers within the aggregator's columns: their indices, and the number of units per layer."""

    indices: slice | Array
    sizes: Array

    def per_unit(self, values: Array) -> Array:
        """Repeat one value per layer for each unit of that layer."""
        return np.repeat(values, self.sizes)


@dataclass(slots=True)
class LayerTotals:
    """Scalars of one layer over the steps of the current record.

    Attributes:
        offset: the first of the layer's units within the aggregator's columns.
        step: the latest sampled step; 0 where the record is still empty.
        since_step: the step from which the change of the mean is split; None where there is no split.
        previous_step: the sampled step that the ``PREVIOUS`` columns belong to; None before the first finite one.
        latest_examples: the examples of the latest step alone.
        total_examples: the examples of all finite steps so far.
    """

    offset: int
    units: int
    first_step: int = 0
    step: int = 0
    sampled_steps: int = 0
    examples: int = 0
    positions: int = 0
    nonfinite: int = 0
    since_step: int | None = None
    previous_step: int | None = None
    latest_examples: int = 0
    total_examples: int = 0
    scalars: dict[str, float | None] = field(default_factory=dict)
    has_positions: bool = False
    has_bias: bool = False
    has_update: bool = False

    @property
    def span(self) -> slice:
        """The layer's units within the aggregator's columns."""
        return slice(self.offset, self.offset + self.units)

    def add_step(self, layer: LayerStats) -> None:
        """Count one sampled step."""
        if not self.step:
            self.first_step = layer.step
        self.step = layer.step
        self.sampled_steps += 1
        self.examples += layer.examples
        self.positions += layer.positions
        self.latest_examples = layer.examples
        self.scalars = {"learning_rate": layer.learning_rate, **norms_of(layer.weights)}
        self.has_positions = layer.has_positions
        self.has_bias = layer.has_bias
        self.has_update = layer.has_bias or layer.has_next_response

    def start_record(self) -> None:
        """Start the next record; keep the previous step, with which its first step is compared."""
        self.step = 0
        self.sampled_steps = 0
        self.examples = 0
        self.positions = 0
        self.nonfinite = 0
        self.since_step = None


def read_row_count(layer: LayerStats) -> None:
    """Read how many rows of a tap its mask selected; only here may the device be waited for."""
    if layer.row_count is not None:
        layer.examples = int(layer.row_count)
        layer.positions = layer.examples
        layer.row_count = None


def active_positions(layers: Sequence[LayerStats], index: UnitIndex, rows: Array) -> Array:
    """Return the active positions of each unit at one step, shape (units,): its active examples where each has one.

    ``rows`` are the matrices of the layers side by side.
    """
    active: Array = rows[SumRow.ACTIVE]
    has_positions = np.array([layer.has_positions for layer in layers])
    if has_positions.any():
        active = np.where(index.per_unit(has_positions), rows[SumRow.ACTIVE_POSITIONS], active)
    return active


def is_finite(matrix: Array) -> bool:
    """Return True if every number of a matrix is finite."""
    # A finite sum proves it in one pass; a sum may overflow although every number is finite.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(matrix.sum()) or np.isfinite(matrix).all())
