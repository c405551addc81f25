"""The records of distinct layers side by side: each column in one array, sums and quantiles for all layers at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relumine.table import Row
from relumine_server.detection import state as st

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

WIDE = 128  # units from which a partition of its own is cheaper than a part in a common sort


@dataclass(frozen=True, slots=True)
class Look:
    """A record of a layer that can be judged: finite, of known length, of an activation that can die."""

    memory: st.LayerMemory
    record: Row


class Batch:
    """The layers of one group side by side: where they lie, and their columns in one array each."""

    def __init__(self, units: st.Units, looks: Sequence[Look]) -> None:
        self.looks = looks
        self.sizes = np.array([look.memory.judged_units for look in looks])
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self.segment = np.repeat(np.arange(len(looks)), self.sizes)
        self.index = _index(looks)
        self.block = units[:, self.index]  # a view where the layers lie side by side
        self._columns: dict[str, Floats] = {}
        places = [look.record.place for look in looks]
        same = all(look.record.table is looks[0].record.table for look in looks)
        self._are_neighbours = same and places == list(range(places[0], places[0] + len(places)))

    def column(self, name: str) -> Floats:
        """A column of all layers; zeros where a layer did not send it."""
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def _read(self, name: str) -> Floats:
        first, last = self.looks[0].record, self.looks[-1].record
        if self._are_neighbours:
            whole = first.table.span(name, first.place, last.place)
            if whole is not None and whole.size == self.segment.size:
                return whole.astype(np.float32)
            if whole is None or not whole.size:
                return np.zeros(self.segment.size, np.float32)
        parts = [
            look.record.arrays()[name] if look.record.has(name) else np.zeros(look.memory.judged_units)
            for look in self.looks
        ]
        return np.concatenate([part.astype(np.float32) for part in parts])

    def spread(self, values: Sequence[float]) -> Floats:
        """One number per layer, repeated for its units."""
        return np.repeat(np.asarray(values, np.float32), self.sizes)

    def count(self, flags: Sequence[Flags]) -> Ints:
        """How many units of each layer bear each flag: shape (flags, layers)."""
        counts: Ints = np.add.reduceat(np.stack(flags).astype(np.int64), self.starts, axis=1)
        return counts

    def sums(self, values: Sequence[Floats]) -> npt.NDArray[np.float64]:
        """Sum over the units of each layer, in double precision: shape (values, layers)."""
        totals: npt.NDArray[np.float64] = np.add.reduceat(np.stack(values).astype(np.float64), self.starts, axis=1)
        return totals

    def quantile(self, values: Floats, valid: Flags, share: float, least: int = 0) -> list[float]:
        """The lower quantile over the valid units of each layer; NaN where there is none. Values are >= 0.

        ``least`` units lie below it where there are as many: one odd unit of a narrow layer is no tenth of it.
        Narrow layers take one sort together: the bits of a non-negative float32 are ordered as its value is. Wide ones
        are partitioned one by one, which is linear.
        """
        counts = self.count([valid])[0]
        last = np.maximum(counts - 1, 0)
        ranks = np.minimum(np.maximum((share * last).astype(np.int64), least), last)
        kept = np.where(valid, np.abs(values), np.float32(np.inf))
        found = self._one_by_one(kept, ranks) if kept.size >= WIDE * ranks.size else self._together(kept, ranks)
        return [float(v) if n else math.nan for v, n in zip(found, counts, strict=True)]

    def _one_by_one(self, kept: Floats, ranks: Ints) -> list[float]:
        ends = self.starts + self.sizes
        bounds = zip(self.starts.tolist(), ends.tolist(), ranks.tolist(), strict=True)
        return [float(np.partition(kept[start:end], rank)[rank]) for start, end, rank in bounds]

    def _together(self, kept: Floats, ranks: Ints) -> list[float]:
        bits = kept.view(np.int32).astype(np.int64)
        ordered = np.sort((self.segment << 32) | bits) & 0xFFFFFFFF
        found: list[float] = ordered[self.starts + ranks].astype(np.int32).view(np.float32).tolist()
        return found


def _index(looks: Sequence[Look]) -> slice | Ints:
    """Where the units of these layers lie: one slice for neighbours, which saves copying them."""
    spans = [look.memory.span for look in looks]
    if all(left.stop == right.start for left, right in itertools.pairwise(spans)):
        return slice(spans[0].start, spans[-1].stop)
    return np.concatenate([np.arange(span.start, span.stop) for span in spans])
