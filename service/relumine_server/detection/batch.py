"""Records of distinct layers side by side: one array per column, and sums and quantiles of all layers at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relumine.schemas.record_table import Row
from relumine_server.detection import state

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

PARTITION_MIN_UNITS = 128
"""Mean number of units per layer from which a partition per layer is cheaper than one sort of all of them."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A record that can be evaluated: finite, of the layer's length, of an activation that can die."""

    memory: state.LayerMemory
    record: Row


class LayerBatch:
    """One record each of distinct layers, their units concatenated.

    ``unit_counts`` and ``starts`` have shape (layers,), all columns shape (units of all layers,). ``unit_index`` holds
    the columns of these units in ``state.Units``; ``units`` is that part of it, of shape (8, units of all layers): a
    view where the layers are neighbours, otherwise a copy.
    """

    def __init__(self, units: state.Units, layers: Sequence[LayerRecord]) -> None:
        self.layers = layers
        self.unit_counts = np.array([layer.memory.tracked_units for layer in layers])
        self.starts = np.concatenate([[0], np.cumsum(self.unit_counts)[:-1]])
        self.unit_index = _unit_index(layers)
        self.units = units[:, self.unit_index]
        self._layer_of_unit = np.repeat(np.arange(len(layers)), self.unit_counts)
        self._columns: dict[str, Floats] = {}
        self._is_table_span = _is_table_span(layers)

    def column(self, name: str) -> Floats:
        """Return a column of all layers, zeros where a layer did not send it."""
        if name not in self._columns:
            self._columns[name] = self._load_column(name)
        return self._columns[name]

    def sigma(self) -> Floats:
        """Return the standard deviation of each unit's pre-activation; 0 for a negative variance, which none has."""
        deviations: Floats = np.sqrt(np.maximum(self.column("var"), np.float32(0)))
        return deviations

    def _load_column(self, name: str) -> Floats:
        total_units = self._layer_of_unit.size
        if self._is_table_span:
            first = self.layers[0].record
            last = self.layers[-1].record
            span = first.records.span(name, first.position, last.position)
            if span is not None and span.size == total_units:
                return span.astype(np.float32)
            if span is None or not span.size:
                return np.zeros(total_units, np.float32)
        parts = []
        for layer in self.layers:
            is_present = layer.record.has(name)
            part = layer.record.arrays()[name] if is_present else np.zeros(layer.memory.tracked_units)
            parts.append(part.astype(np.float32))
        return np.concatenate(parts)

    def per_unit(self, values: Sequence[float]) -> Floats:
        """Repeat one number per layer for each of its units."""
        return np.repeat(np.asarray(values, np.float32), self.unit_counts)

    def count_units(self, flags: Sequence[Flags]) -> Ints:
        """Count the units of each layer where a flag is set; shape (flags, layers)."""
        counts: Ints = np.add.reduceat(np.stack(flags).astype(np.int64), self.starts, axis=1)
        return counts

    def sum_units(self, values: Sequence[Floats]) -> npt.NDArray[np.float64]:
        """Sum over the units of each layer in double precision; shape (values, layers)."""
        totals: npt.NDArray[np.float64] = np.add.reduceat(np.stack(values).astype(np.float64), self.starts, axis=1)
        return totals

    def quantile(self, values: Floats, valid: Flags, share: float, min_below: int = 0) -> list[float]:
        """Return the lower quantile of each layer over its valid units, NaN where it has none. Values must be >= 0.

        At least ``min_below`` units lie below it where there are as many: one odd unit of a narrow layer is no tenth of
        the layer.
        """
        counts = self.count_units([valid])[0]
        last_ranks = np.maximum(counts - 1, 0)
        ranks = np.minimum(np.maximum((share * last_ranks).astype(np.int64), min_below), last_ranks)
        # Units that are not valid sort behind all others.
        ranked = np.where(valid, np.abs(values), np.float32(np.inf))
        if ranked.size >= PARTITION_MIN_UNITS * ranks.size:
            quantiles = self._select_by_partition(ranked, ranks)
        else:
            quantiles = self._select_by_sort(ranked, ranks)
        return [float(value) if count else math.nan for value, count in zip(quantiles, counts, strict=True)]

    def _select_by_partition(self, values: Floats, ranks: Ints) -> list[float]:
        """Return the value of each layer at its rank, layer by layer: linear in the units."""
        stops = self.starts + self.unit_counts
        bounds = zip(self.starts.tolist(), stops.tolist(), ranks.tolist(), strict=True)
        return [float(np.partition(values[start:stop], rank)[rank]) for start, stop, rank in bounds]

    def _select_by_sort(self, values: Floats, ranks: Ints) -> list[float]:
        """Return the value of each layer at its rank from one sort of all layers.

        The bits of a non-negative float32 are ordered as its value is, so a 64-bit key of layer and bits sorts by layer
        first and by value within it.
        """
        bits = values.view(np.int32).astype(np.int64)
        ordered = np.sort((self._layer_of_unit << 32) | bits) & 0xFFFFFFFF
        selected: list[float] = ordered[self.starts + ranks].astype(np.int32).view(np.float32).tolist()
        return selected


def _is_table_span(layers: Sequence[LayerRecord]) -> bool:
    """Return whether the records follow each other in one table, so that a column of theirs is one slice of it."""
    table = layers[0].record.records
    positions = [layer.record.position for layer in layers]
    is_one_table = all(layer.record.records is table for layer in layers)
    return is_one_table and positions == list(range(positions[0], positions[0] + len(positions)))


def _unit_index(layers: Sequence[LayerRecord]) -> slice | Ints:
    """Return the columns of the layers' units in the state: one slice for neighbours, which saves copying them."""
    slices = [layer.memory.unit_slice for layer in layers]
    if all(left.stop == right.start for left, right in itertools.pairwise(slices)):
        return slice(slices[0].start, slices[-1].stop)
    return np.concatenate([np.arange(part.start, part.stop) for part in slices])
