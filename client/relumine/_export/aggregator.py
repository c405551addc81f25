"""Aggregation of sampled steps into records, one per layer and one for the run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from relumine._capture.step_stats import LayerStats, StepStats, SumRow
from relumine._export.gradient_flow import GradientFlow
from relumine._export.layer_record import LayerRecord
from relumine._export.layer_totals import LayerTotals, UnitIndex, active_positions, is_finite, read_row_count
from relumine._export.motion import MotionDetector
from relumine._export.run_aggregator import RunAggregator
from relumine._export.unit_silences import UnitSilences
from relumine.schemas.record_table import Array

# Columns of the aggregator: values of the previous sampled step, sums over a record, values of the latest step, and
# sums and extremes over the whole session.
PREVIOUS = ("mean", "bias", "silent", "next_response")
SUMMED = (
    "active",
    "active_positions",
    "sum",
    "sum_squares",
    "shift_weight",
    "shift_input",
    "shift_bias",
    "longest_silence",
)
LATEST = ("max", "update_shift", "latest_active")
LIFETIME = ("total_active", "longest_ever")
COLUMNS = (*PREVIOUS, *SUMMED, *LATEST, *LIFETIME)
SHIFTS = ("shift_weight", "shift_input", "shift_bias")

# Estimated size of a record on the wire.
BYTES_PER_UNIT = 46
BYTES_PER_LAYER = 500

# Combinations of layers whose unit index is cached. Mixtures of experts produce many combinations.
MAX_CACHED_INDICES = 64


class RecordAggregator:
    """An aggregator that merges sampled steps, in their order, into records.

    The units of all layers lie side by side in one array per column, so that a step of fifty layers costs little more
    than a step of two. Silence counters are kept apart from the sums: a sum over merged steps would hide a silence at
    their end behind one activation at their beginning.
    """

    def __init__(self) -> None:
        self.pending_steps = 0
        """Sampled steps added since records were last collected."""
        self.gradients = GradientFlow()
        self._totals: dict[int, LayerTotals] = {}
        self._units: dict[str, Array] = {name: np.zeros(0, np.float32) for name in COLUMNS}
        self._index_cache: dict[tuple[int, ...], UnitIndex] = {}
        self._run = RunAggregator()
        self._motion = MotionDetector()

    @property
    def bytes_per_step(self) -> int:
        """The estimated size of one sampled step on the wire, if it is not merged with others."""
        return BYTES_PER_UNIT * self._units["mean"].size + BYTES_PER_LAYER * len(self._totals)

    def add(self, stats: StepStats) -> None:
        """Merge one sampled step. Waits for the device that computed it, and releases its buffers."""
        self.pending_steps += 1
        for event in stats.copy_events:
            event.synchronize()
        finite: list[LayerStats] = []
        matrices: list[Array] = []
        for layer in stats.layers:
            read_row_count(layer)
            matrix = layer.matrix.cpu().numpy()
            if is_finite(matrix):
                finite.append(layer)
                matrices.append(matrix)
            else:
                self._count_nonfinite(layer, matrix)
        if finite:
            self._accumulate(finite, np.concatenate(matrices, axis=1))
        self._run.add(stats)
        self.gradients.add(stats.layers, matrices, is_finite=len(finite) == len(stats.layers))
        for layer in stats.layers:
            if layer.buffer is not None:
                layer.buffer.release()

    def collect(self) -> list[LayerRecord]:
        """Return the records of everything added since the last call: the run's first, then one per layer."""
        if not self.pending_steps:
            return []
        self.pending_steps = 0
        layers = [self._record(layer_id, totals) for layer_id, totals in self._totals.items() if totals.step]
        for name in SUMMED:
            self._units[name][:] = 0
        self._units["max"][:] = -np.inf
        return [self._run.collect(layers), *self._run.collect_missing(), *layers]

    def latest_rates(self, counting_positions: Collection[int] = ()) -> dict[int, dict[str, float]]:
        """Return fractions of examples and units at the latest sampled step, by layer.

        ``counting_positions`` are the layers whose n counts positions.
        Called from the training thread. The totals are read before the columns: a layer is added to the columns
        first, so that every layer found here has its units in them.
        """
        totals_by_layer = list(self._totals.items())
        rates = {}
        for layer_id, totals in totals_by_layer:
            if totals.previous_step is None:
                continue
            active = self._units["latest_active"][totals.span]
            silences = UnitSilences.from_columns(self._units, totals.span, totals.total_examples)
            lost = silences.lost_fractions(in_positions=layer_id in counting_positions)
            rates[layer_id] = {
                "active_rate": float(active.mean() / max(totals.latest_examples, 1)),
                "silent_fraction": float((active == 0).mean()),
                "dead_fraction": lost.dead,
                "born_dead_fraction": lost.born_dead,
            }
        return rates

    def take_input_jump(self) -> bool:
        """Return True if the model's input has jumped since the last call."""
        return self._run.take_input_jump()

    def take_motion(self) -> bool:
        """Return True if units fell silent, rates changed, or a layer is not finite any more since the last call."""
        return self._motion.has_moved(self._totals, self._units)

    def _totals_of(self, layer: LayerStats) -> LayerTotals:
        """Return the totals of a layer; append its units to all columns when it is new."""
        totals = self._totals.get(layer.layer_id)
        if totals is not None:
            return totals
        offset = self._units["mean"].size
        units = layer.matrix.shape[1]
        for name, values in self._units.items():
            initial = -np.inf if name == "max" else 0.0
            self._units[name] = np.concatenate([values, np.full(units, initial, np.float32)])
        self._index_cache.clear()
        totals = LayerTotals(offset, units)
        self._totals[layer.layer_id] = totals
        return totals

    def _index_of(self, layers: Sequence[LayerStats], totals: Sequence[LayerTotals]) -> UnitIndex:
        """Return the index of the units of these layers; a slice where they are all units, in order."""
        key = tuple(layer.layer_id for layer in layers)
        index = self._index_cache.get(key)
        if index is not None:
            return index
        indices = np.concatenate([np.arange(layer.offset, layer.offset + layer.units) for layer in totals])
        all_indices = np.arange(self._units["mean"].size)
        sizes = np.array([layer.units for layer in totals])
        index = UnitIndex(slice(None) if np.array_equal(indices, all_indices) else indices, sizes)
        if len(self._index_cache) >= MAX_CACHED_INDICES:
            self._index_cache.clear()
        self._index_cache[key] = index
        return index

    def _count_nonfinite(self, layer: LayerStats, matrix: Array) -> None:
        """Count a layer with NaN or infinity, and its units with them, but take none of its statistics.

        NaN makes z > 0 false: the layer would look dead.
        """
        totals = self._totals_of(layer)
        totals.add_step(layer)
        totals.nonfinite += int(matrix.shape[1] - np.isfinite(matrix).all(0).sum())
        totals.previous_step = None
        self._units["silent"][totals.span] = 0

    def _accumulate(self, layers: Sequence[LayerStats], rows: Array) -> None:
        """Add the finite layers of one step; ``rows`` are their matrices side by side, shape (len(SumRow), units)."""
        totals = [self._totals_of(layer) for layer in layers]
        index = self._index_of(layers, totals)
        indices = index.indices
        units = self._units
        positions = np.array([max(layer.positions, 1) for layer in layers], np.float32)
        mean = rows[SumRow.SUM] / index.per_unit(positions)
        self._accumulate_silence(layers, index, rows[SumRow.ACTIVE])
        units["active"][indices] += rows[SumRow.ACTIVE]
        units["total_active"][indices] += rows[SumRow.ACTIVE]
        units["active_positions"][indices] += active_positions(layers, index, rows)
        units["sum"][indices] += rows[SumRow.SUM]
        units["sum_squares"][indices] += rows[SumRow.SUM_SQUARES]
        units["max"][indices] = np.maximum(units["max"][indices], rows[SumRow.MAX])
        self._accumulate_update_shift(layers, index, rows, mean)
        self._accumulate_split(layers, totals, index, rows, mean)
        units["mean"][indices] = mean
        units["bias"][indices] = rows[SumRow.BIAS]
        units["next_response"][indices] = rows[SumRow.NEXT_MEAN_RESPONSE]
        units["latest_active"][indices] = rows[SumRow.ACTIVE]
        for layer, layer_totals in zip(layers, totals, strict=True):
            layer_totals.add_step(layer)
            layer_totals.previous_step = layer.step
            layer_totals.total_examples += layer.examples

    def _accumulate_silence(self, layers: Sequence[LayerStats], index: UnitIndex, active: Array) -> None:
        """Update the examples since a unit was last active, across records, and its longest silence that ended."""
        units = self._units
        examples = index.per_unit(np.array([layer.examples for layer in layers], np.float32))
        is_active = active > 0
        silent = units["silent"][index.indices]
        longest = units["longest_silence"][index.indices]
        ended = np.where(is_active, silent, 0)
        units["longest_silence"][index.indices] = np.maximum(longest, ended)
        units["longest_ever"][index.indices] = np.maximum(units["longest_ever"][index.indices], ended)
        units["silent"][index.indices] = np.where(is_active, 0, silent + examples)

    def _accumulate_update_shift(
        self, layers: Sequence[LayerStats], index: UnitIndex, rows: Array, mean: Array
    ) -> None:
        """Set what the update just made does to the mean: (W₁·x̄ + b₁) - z̄.

        Where the response of the new weights is not known, as behind a BatchNorm, it is the change of the bias alone.
        """
        has_response = index.per_unit(np.array([layer.has_next_response for layer in layers]))
        new_bias = rows[SumRow.NEW_BIAS]
        shift = rows[SumRow.NEXT_MEAN_RESPONSE] + new_bias - mean
        self._units["update_shift"][index.indices] = np.where(has_response, shift, new_bias - rows[SumRow.BIAS])

    def _accumulate_split(
        self,
        layers: Sequence[LayerStats],
        totals: Sequence[LayerTotals],
        index: UnitIndex,
        rows: Array,
        mean: Array,
    ) -> None:
        """Add the exact split of the change of the mean from the previous sampled step (0) to this one (1).

        z̄₁ - z̄₀ = [W₁·x̄₀ + b₀ - z̄₀] + [z̄₁ - b₁ - W₁·x̄₀] + [b₁ - b₀] = weight + input + bias
        """
        has_split = [_has_split(layer, layer_totals) for layer, layer_totals in zip(layers, totals, strict=True)]
        if not any(has_split):
            return
        units = self._units
        indices = index.indices
        split = index.per_unit(np.array(has_split))
        # Where the two steps are consecutive, W₁·x̄₀ was computed at the end of step 0 already. The parts of successive
        # steps add up: their sums are the split of the change over all steps of the record.
        is_consecutive = index.per_unit(np.array([layer.is_consecutive for layer in layers]))
        response = np.where(is_consecutive, units["next_response"][indices], rows[SumRow.MEAN_RESPONSE])
        bias = rows[SumRow.BIAS]
        previous_bias = units["bias"][indices]
        units["shift_weight"][indices] += np.where(split, response + previous_bias - units["mean"][indices], 0)
        units["shift_input"][indices] += np.where(split, mean - bias - response, 0)
        units["shift_bias"][indices] += np.where(split, bias - previous_bias, 0)
        for layer, layer_totals, layer_has_split in zip(layers, totals, has_split, strict=True):
            if layer_has_split and layer_totals.since_step is None:
                layer_totals.since_step = layer.since_step

    def _record(self, layer_id: int, totals: LayerTotals) -> LayerRecord:
        """Return the record of one layer, and start its next one."""
        scalars: dict[str, Any] = {
            "layer_id": layer_id,
            "first_step": totals.first_step,
            "step": totals.step,
            "sampled_steps": totals.sampled_steps,
            "n_examples": totals.examples,
            "n_positions": totals.positions,
            "nonfinite": totals.nonfinite,
            "since_step": totals.since_step,
            **totals.scalars,
        }
        columns = {} if totals.nonfinite else self._columns(totals)
        totals.start_record()
        return LayerRecord(scalars, columns)

    def _columns(self, totals: LayerTotals) -> dict[str, Array]:
        """Return copies of the layer's unit columns: the sums are reset for the next record."""
        units = self._units
        span = totals.span
        positions = max(totals.positions, 1)
        names = ["active", "silent", "longest_silence", "max"]
        if totals.has_positions:
            names.append("active_positions")
        if totals.has_bias:
            names.append("bias")
        if totals.has_update:
            names.append("update_shift")
        if totals.since_step is not None:
            names += SHIFTS
        columns = {name: units[name][span].copy() for name in names}
        mean = units["sum"][span] / positions
        columns["mean"] = mean
        columns["var"] = np.maximum(units["sum_squares"][span] / positions - mean * mean, 0)
        return columns


def _has_split(layer: LayerStats, totals: LayerTotals) -> bool:
    """Return True if W₁·x̄₀ of the layer refers to the very step that the ``PREVIOUS`` columns hold.

    It does not at a layer's first step, and not after a step that was not finite.
    """
    return layer.since_step is not None and layer.since_step == totals.previous_step
