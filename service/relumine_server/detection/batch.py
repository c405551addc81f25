"""Records side by side: one array per column, and sums and quantiles of all of them at once.

They come in rounds: records of the same distinct layers, round after round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from relumine.schemas.record_table import Row
from relumine_server.detection import state

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

PARTITION_MIN_UNITS = 128
"""Mean number of units per layer from which a partition per layer is cheaper than one sort of all of them."""
BROADCAST_MIN_UNITS = 4_096
"""Units from which it pays to look whether all records have the same number, so that it need not be repeated."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A record that can be evaluated: finite, of the layer's length, of an activation that can die.

    ``earlier_records`` of the layer were folded in before it.
    """

    memory: state.LayerMemory
    record: Row
    earlier_records: float


class LayerBatch:
    """Rounds of records, each of the same distinct layers in the same order; their units concatenated.

    ``layers`` are the records of all rounds, ``n_examples``, ``unit_counts`` and ``starts`` have a value for each of
    them. All columns have shape (units of all records,). ``unit_index`` holds the columns of a round's units in
    ``state.Units``, ``start_units`` is that part of it, of shape (8, units of a round), as it was before the first
    round. ``units``, of shape (8, units of all records), is to hold what each record made of it.
    """

    def __init__(self, units: state.Units, rounds: Sequence[Sequence[LayerRecord]]) -> None:
        self.rounds = len(rounds)
        self.layers = list(itertools.chain.from_iterable(rounds))
        self.n_examples = np.array([layer.record.n_examples for layer in self.layers], np.float64)
        self.unit_counts = np.array([layer.memory.tracked_units for layer in self.layers])
        self.starts = np.concatenate([[0], np.cumsum(self.unit_counts)[:-1]])
        self.unit_index = _unit_index(rounds[0])
        self.start_units = units[:, self.unit_index]
        self.units = np.empty((state.ROWS, self.rounds * self.start_units.shape[1]), np.float32)
        self._layer_of_unit = np.repeat(np.arange(len(self.layers)), self.unit_counts)
        self._columns: dict[str, Floats] = {}
        self._sigma: Floats | None = None
        self._counts_positions = np.array([layer.memory.info.n_unit == "positions" for layer in self.layers])
        self._positions = _positions_in_table(self.layers)

    def by_round(self, values: npt.NDArray[T]) -> npt.NDArray[T]:
        """Return values of all units with an axis of rounds before that of a round's units: shape (…, rounds, n)."""
        return values.reshape(*values.shape[:-1], self.rounds, self.start_units.shape[1])

    def earlier_units(self, rows: slice) -> Floats:
        """Return rows of the units as they were before each record, shape (rows, rounds, units of a round).

        They have to be known after each record.
        """
        start = self.start_units[rows, None]
        if self.rounds == 1:
            return start
        return np.concatenate([start, self.by_round(self.units[rows])[:, :-1]], axis=1)

    def column(self, name: str) -> Floats:
        """Return a column of all layers, zeros where a layer did not send it."""
        if name not in self._columns:
            self._columns[name] = self._load_column(name)
        return self._columns[name]

    def design_effects(self, of_positions: float) -> npt.NDArray[np.float64]:
        """Return, per record, how many of the counted examples or positions are worth one independent example."""
        return np.where(self._counts_positions, of_positions, 1.0)

    def sigma(self) -> Floats:
        """Return the standard deviation of each unit's pre-activation; 0 for a negative variance, which none has."""
        if self._sigma is None:
            self._sigma = np.sqrt(np.maximum(self.column("var"), np.float32(0)))
        return self._sigma

    def _load_column(self, name: str) -> Floats:
        total_units = self._layer_of_unit.size
        if self._positions is not None:
            table = self.layers[0].record.records
            if name not in table.columns:
                return np.zeros(total_units, np.float32)
            starts = table.starts[name]
            first = starts[self._positions[0]]
            stop = starts[self._positions[-1] + 1]
            measured_units = (starts[self._positions + 1] - starts[self._positions]).sum()
            if not measured_units:
                return np.zeros(total_units, np.float32)
            if measured_units == total_units == stop - first:  # what lies between these records has no such column
                return table.columns[name][first:stop].astype(np.float32)
        parts = []
        for layer in self.layers:
            part = layer.record.arrays().get(name)
            if part is None:
                part = np.zeros(layer.memory.tracked_units, np.float32)
            parts.append(part.astype(np.float32))
        return np.concatenate(parts)

    def per_unit(self, values: npt.ArrayLike) -> Floats:
        """Repeat one number per record for each of its units. The result is only read."""
        numbers = np.asarray(values, np.float32)
        units = self.units.shape[1]
        if units >= BROADCAST_MIN_UNITS and bool((numbers == numbers[0]).all()):
            return np.broadcast_to(numbers[0], units)
        return np.repeat(numbers, self.unit_counts)

    def flag_units(self, flags: Sequence[bool]) -> Flags:
        """Repeat one flag per record for each of its units."""
        return np.repeat(np.array(flags, np.bool_), self.unit_counts)

    def count_units(self, flags: Sequence[Flags]) -> Ints:
        """Count the units of each record where a flag is set; shape (flags, records)."""
        side_by_side = np.concatenate(flags).reshape(len(flags), -1)
        counts: Ints = np.add.reduceat(side_by_side.view(np.uint8), self.starts, axis=1, dtype=np.int64)
        return counts

    def sum_units(self, values: Sequence[Floats]) -> npt.NDArray[np.float64]:
        """Sum over the units of each record in double precision; shape (values, records)."""
        side_by_side = np.concatenate(values, dtype=np.float64).reshape(len(values), -1)
        totals: npt.NDArray[np.float64] = np.add.reduceat(side_by_side, self.starts, axis=1)
        return totals

    def quantile(self, values: Floats, valid: Flags, share: float, min_below: int = 0) -> list[float]:
        """Return the lower quantile of each record over its valid units, NaN where it has none. Values must be >= 0.

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
        """Return the value of each record at its rank, record by record: linear in the units. Reorders ``values``."""
        stops = self.starts + self.unit_counts
        for start, stop, rank in zip(self.starts.tolist(), stops.tolist(), ranks.tolist(), strict=True):
            values[start:stop].partition(rank)
        selected: list[float] = values[self.starts + ranks].tolist()
        return selected

    def _select_by_sort(self, values: Floats, ranks: Ints) -> list[float]:
        """Return the value of each record at its rank from one sort of all of them.

        The bits of a non-negative float32 are ordered as its value is, so a 64-bit key of record and bits sorts by
        record first and by value within it.
        """
        bits = values.view(np.int32).astype(np.int64)
        ordered = np.sort((self._layer_of_unit << 32) | bits) & 0xFFFFFFFF
        selected: list[float] = ordered[self.starts + ranks].astype(np.int32).view(np.float32).tolist()
        return selected


def accumulate(function: np.ufunc, rounds: npt.NDArray[T]) -> npt.NDArray[T]:
    """Apply a function of two values to each round and what it gave for the rounds before, in place; (rounds, n).

    Along this axis NumPy's own ``accumulate`` goes unit by unit, which takes far longer where there are many.
    """
    for earlier, later in itertools.pairwise(rounds):
        function(earlier, later, out=later)
    return rounds


def _positions_in_table(layers: Sequence[LayerRecord]) -> Ints | None:
    """Return the positions of the records in their table; None where they are of several, or in another order.

    A column of records that follow each other in one table is one slice of it.
    """
    table = layers[0].record.records
    if any(layer.record.records is not table for layer in layers):
        return None
    positions = np.array([layer.record.position for layer in layers])
    return positions if bool((np.diff(positions) > 0).all()) else None


def _unit_index(layers: Sequence[LayerRecord]) -> slice | Ints:
    """Return the columns of the layers' units in the state: one slice for neighbours, which saves copying them."""
    slices = [layer.memory.unit_slice for layer in layers]
    if all(left.stop == right.start for left, right in itertools.pairwise(slices)):
        return slice(slices[0].start, slices[-1].stop)
    return np.concatenate([np.arange(part.start, part.stop) for part in slices])
