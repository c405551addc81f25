"""Samples become records of the wire, in the sender's thread.

The units of all layers lie side by side in one array, so that a step of fifty layers costs little more than one of two.
Samples that are merged into one record keep their silence counters apart from the sums: one activation anywhere in
between would hide the silence at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from relumine._run_record import RunRecord, norms_of
from relumine._sample import Sample
from relumine._site import AFTER, BIAS, NEW_BIAS, RESPONSE, Snapshot
from relumine.table import Array

ACTIVE, TOTAL, SQUARE, TOP, POSITIONS = range(5)
DEAD_EXAMPLES = 1_000  # rule of three: a rate below 0.3 %
PAST = ("mean", "bias", "silent", "after")
SUMS = ("active", "active_positions", "total", "square", "shift_weight", "shift_input", "shift_bias", "longest_silence")
LAST = ("max", "update_shift", "latest_active")
BYTES_PER_UNIT, BYTES_PER_LAYER = 46, 500
ARRANGEMENTS = 64  # of layers in a sample, remembered; routing may make many

Where: TypeAlias = tuple[slice | Array, Array]


@dataclass(slots=True)
class Entry:
    """What is merged of one layer so far; ``step`` is 0 where nothing was, ``past_step`` that of its last look."""

    offset: int
    units: int
    first_step: int = 0
    step: int = 0
    sampled_steps: int = 0
    examples: int = 0
    positions: int = 0
    nonfinite: int = 0
    since: int | None = None
    past_step: int | None = None
    latest_examples: int = 0
    scalars: dict[str, float | None] = field(default_factory=dict)
    has_positions: bool = False
    has_bias: bool = False
    has_update: bool = False

    @property
    def span(self) -> slice:
        """Where the layer's units lie."""
        return slice(self.offset, self.offset + self.units)

    def clear(self) -> None:
        """Begin the next record; what the next look needs of the last is kept."""
        self.step = self.sampled_steps = self.examples = self.positions = self.nonfinite = 0
        self.since = None


class Ledger:
    """Adds samples in the order in which they were taken, and gives them out as records."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._units: dict[str, Array] = {name: np.zeros(0, np.float32) for name in (*PAST, *SUMS, *LAST)}
        self._where: dict[tuple[int, ...], Where] = {}
        self._run = RunRecord()
        self.merged = 0

    def add(self, sample: Sample) -> None:
        """Fold a sample in. Waits for its device, if it has one."""
        self.merged += 1
        for event in sample.arrived:
            event.synchronize()
        layers = [_counted(layer) for layer in sample.layers]
        matrices = [_numpy(layer) for layer in layers]
        good = [i for i, matrix in enumerate(matrices) if _is_finite(matrix)]
        for i in set(range(len(layers))) - set(good):
            self._diverged(layers[i], matrices[i])
        if good:
            self._fold([layers[i] for i in good], np.concatenate([matrices[i] for i in good], axis=1))
        self._run.add(sample)
        for layer in layers:
            if layer.room is not None:
                layer.room.give_back()

    def emit(self) -> list[dict[str, Any]]:
        """The records of what was added since the last call: the run's own first, then one per layer."""
        if not self.merged:
            return []
        self.merged = 0
        records = [self._record(layer_id, entry) for layer_id, entry in self._entries.items() if entry.step]
        for name in SUMS:
            self._units[name][:] = 0
        self._units["max"][:] = -np.inf
        return [self._run.emit(records), *self._run.silent(), *records]

    @property
    def bytes_per_sample(self) -> int:
        """About what the records of one sample take on the wire."""
        return BYTES_PER_UNIT * self._units["mean"].size + BYTES_PER_LAYER * len(self._entries)

    def shares(self) -> dict[int, dict[str, float]]:
        """The latest look by layer: shares of examples and units, for other loggers."""
        active, silent = self._units["latest_active"], self._units["silent"]
        return {
            layer_id: {
                "active_rate": float(active[entry.span].mean() / max(entry.latest_examples, 1)),
                "silent_fraction": float((active[entry.span] == 0).mean()),
                "dead_fraction": float((silent[entry.span] >= DEAD_EXAMPLES).mean()),
            }
            for layer_id, entry in list(self._entries.items())
            if entry.past_step is not None
        }

    def _entry(self, layer: Snapshot) -> Entry:
        entry = self._entries.get(layer.layer_id)
        if entry is None:
            offset, units = self._units["mean"].size, layer.matrix.shape[1]
            for name, values in self._units.items():
                start = -np.inf if name == "max" else 0.0
                self._units[name] = np.concatenate([values, np.full(units, start, np.float32)])
            entry = self._entries[layer.layer_id] = Entry(offset, units)
            self._where.clear()
        return entry

    def _place(self, layers: Sequence[Snapshot], entries: Sequence[Entry]) -> Where:
        """Where the units of these layers lie, and how many each has."""
        key = tuple(layer.layer_id for layer in layers)
        found = self._where.get(key)
        if found is None:
            sizes = np.array([entry.units for entry in entries])
            at = np.concatenate([np.arange(entry.offset, entry.offset + entry.units) for entry in entries])
            whole = at.size == self._units["mean"].size and bool((at == np.arange(at.size)).all())
            if len(self._where) >= ARRANGEMENTS:
                self._where.clear()
            found = self._where[key] = (slice(None) if whole else at, sizes)
        return found

    def _diverged(self, layer: Snapshot, matrix: Array) -> None:
        """NaN makes z > 0 false: a diverged layer would look dead. Its units are counted and nothing else."""
        entry = self._entry(layer)
        self._count(entry, layer)
        entry.nonfinite += int(matrix.shape[1] - np.isfinite(matrix).all(0).sum())
        entry.past_step = None
        self._units["silent"][entry.span] = 0

    def _count(self, entry: Entry, layer: Snapshot) -> None:
        if not entry.step:
            entry.first_step = layer.step
        entry.step = layer.step
        entry.sampled_steps += 1
        entry.examples += layer.examples
        entry.positions += layer.positions
        entry.latest_examples = layer.examples
        entry.scalars = {"learning_rate": layer.learning_rate, **norms_of(layer.weights)}
        entry.has_positions, entry.has_bias = layer.has_positions, layer.has_bias
        entry.has_update = layer.has_bias or layer.has_after

    def _fold(self, layers: Sequence[Snapshot], rows: Array) -> None:
        entries = [self._entry(layer) for layer in layers]
        at, sizes = self._place(layers, entries)
        units = self._units
        examples = np.repeat(np.array([layer.examples for layer in layers], np.float32), sizes)
        mean = rows[TOTAL] / np.repeat(np.array([max(layer.positions, 1) for layer in layers], np.float32), sizes)
        self._fold_silence(at, rows[ACTIVE], examples)
        for name, row in (("active", ACTIVE), ("active_positions", POSITIONS), ("total", TOTAL), ("square", SQUARE)):
            units[name][at] += rows[row]
        units["max"][at] = np.maximum(units["max"][at], rows[TOP])
        self._fold_shifts(layers, entries, (at, sizes), rows, mean)
        units["mean"][at], units["bias"][at], units["after"][at] = mean, rows[BIAS], rows[AFTER]
        units["latest_active"][at] = rows[ACTIVE]
        for layer, entry in zip(layers, entries, strict=True):
            self._count(entry, layer)
            entry.past_step = layer.step

    def _fold_silence(self, at: slice | Array, active: Array, examples: Array) -> None:
        """Examples since last active, over all looks, and the longest silence that ended."""
        units, fired = self._units, active > 0
        past = units["silent"][at]
        units["longest_silence"][at] = np.maximum(units["longest_silence"][at], np.where(fired, past, 0))
        units["silent"][at] = np.where(fired, 0, past + examples)

    def _fold_shifts(
        self, layers: Sequence[Snapshot], entries: Sequence[Entry], where: Where, rows: Array, mean: Array
    ) -> None:
        """What the update did to the mean, and the split of the change since the last look (see ``_shift``).

        Parts of consecutive looks add up: their sum is the change from the first look to the last.
        """
        (at, sizes), units = where, self._units
        after = np.repeat([layer.has_after for layer in layers], sizes)
        units["update_shift"][at] = np.where(after, rows[AFTER] + rows[NEW_BIAS] - mean, rows[NEW_BIAS] - rows[BIAS])
        known = [
            layer.since_step is not None and layer.since_step == entry.past_step
            for layer, entry in zip(layers, entries, strict=True)
        ]
        if not any(known):
            return
        split = np.repeat(known, sizes)
        mean0, bias0 = units["mean"][at], units["bias"][at]
        follows = np.repeat([layer.follows for layer in layers], sizes)
        response = np.where(follows, units["after"][at], rows[RESPONSE])
        units["shift_weight"][at] += np.where(split, response + bias0 - mean0, 0)
        units["shift_input"][at] += np.where(split, mean - rows[BIAS] - response, 0)
        units["shift_bias"][at] += np.where(split, rows[BIAS] - bias0, 0)
        for layer, entry, is_known in zip(layers, entries, known, strict=True):
            if is_known and entry.since is None:
                entry.since = layer.since_step

    def _record(self, layer_id: int, entry: Entry) -> dict[str, Any]:
        record: dict[str, Any] = {
            "layer_id": layer_id,
            "first_step": entry.first_step,
            "step": entry.step,
            "sampled_steps": entry.sampled_steps,
            "n_examples": entry.examples,
            "n_positions": entry.positions,
            "nonfinite": entry.nonfinite,
            "since_step": entry.since,
            **entry.scalars,
        }
        if not entry.nonfinite:
            record |= self._columns(entry)
        entry.clear()
        return record

    def _columns(self, entry: Entry) -> dict[str, Array]:
        units, span = self._units, entry.span
        n = max(entry.positions, 1)
        mean = units["total"][span] / n
        columns = {name: units[name][span] for name in ("active", "silent", "longest_silence", "max")}
        columns["mean"] = mean
        columns["var"] = np.maximum(units["square"][span] / n - mean * mean, 0)
        if entry.has_positions:
            columns["active_positions"] = units["active_positions"][span]
        if entry.has_bias:
            columns["bias"] = units["bias"][span]
        if entry.has_update:
            columns["update_shift"] = units["update_shift"][span]
        if entry.since is not None:
            columns |= {name: units[name][span] for name in ("shift_weight", "shift_input", "shift_bias")}
        return {name: values.copy() for name, values in columns.items()}  # the sums begin anew


def _numpy(layer: Snapshot) -> Array:
    return layer.matrix.cpu().numpy()


def _counted(layer: Snapshot) -> Snapshot:
    """Read how many rows a mask let through, now that waiting harms nobody."""
    if layer.counted is not None:
        layer.examples = layer.positions = int(layer.counted)
        layer.counted = None
    return layer


def _is_finite(matrix: Array) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(matrix.sum()) or np.isfinite(matrix).all())
