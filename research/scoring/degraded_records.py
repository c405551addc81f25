"""The records that a detector would have read if the SDK had sent less: without a statistic, or fewer sampled steps.

Edits work on records as plain values, a whole run at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from relumine.schemas.record_table import SCALARS, Array, RecordTable, Row

SHIFTS = ("shift_weight", "shift_input", "shift_bias")


@dataclass(frozen=True)
class PlainRecord:
    """A record as plain values: scalars by name (``learning_rates`` among them), and its unit columns."""

    scalars: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def layer_id(self) -> int:
        """Layer of the record; 0 is the run itself."""
        return int(self.scalars["layer_id"])


Edit: TypeAlias = Callable[[Sequence[PlainRecord]], Sequence[PlainRecord]]


def to_plain(records: Sequence[Row]) -> list[PlainRecord]:
    """Return records as plain values."""
    names = (*SCALARS, "learning_rates")
    return [PlainRecord({name: getattr(row, name) for name in names}, row.arrays()) for row in records]


def to_table(records: Sequence[PlainRecord]) -> Sequence[Row]:
    """Return plain values as one table of records."""
    return RecordTable.from_values([record.scalars for record in records], [record.arrays for record in records])


def unchanged(records: Sequence[PlainRecord]) -> Sequence[PlainRecord]:
    """Return everything that was sent."""
    return records


def without(*names: str) -> Edit:
    """Return an edit that removes these columns and scalars."""

    def edit(records: Sequence[PlainRecord]) -> Sequence[PlainRecord]:
        edited = []
        for record in records:
            scalars = {name: None if name in names else value for name, value in record.scalars.items()}
            arrays = {name: values for name, values in record.arrays.items() if name not in names}
            edited.append(PlainRecord(scalars, arrays))
        return edited

    return edit


def only_active(records: Sequence[PlainRecord]) -> Sequence[PlainRecord]:
    """Keep the counts of activations, and no other column."""
    edited = []
    for record in records:
        arrays = {name: values for name, values in record.arrays.items() if name == "active"}
        edited.append(replace(record, arrays=arrays))
    return edited


def without_run(records: Sequence[PlainRecord]) -> Sequence[PlainRecord]:
    """Keep the records of layers, and none of the run itself."""
    return [record for record in records if record.layer_id]


def thinned(every: int) -> Edit:
    """Return an edit that keeps every n-th sampled step, from the first on, as if the others had not been sampled.

    The SDK counts silence over sampled steps only, so it is counted again over those that are kept. The parts of the
    mean's change add up from one sampled step to the next, so those of removed steps are added to the next kept one.
    Values of a step itself (counts, bias, update_shift, maximum) are unchanged. Bursts are thinned like everything
    else.
    """

    def edit(records: Sequence[PlainRecord]) -> Sequence[PlainRecord]:
        kept_steps = set(sorted({record.scalars["step"] for record in records})[::every])
        layers: dict[int, _LayerThinning] = {}
        edited = []
        for record in records:
            layer = layers.setdefault(record.layer_id, _LayerThinning())
            if record.scalars["step"] in kept_steps:
                edited.append(layer.keep(record))
            else:
                layer.remove(record)
        return edited

    return edit


@dataclass
class _LayerThinning:
    """The silences of a layer over the kept steps, and removed records whose shifts are not yet added."""

    silent: Array | None = None
    removed: list[PlainRecord] = field(default_factory=list)

    def remove(self, record: PlainRecord) -> None:
        self.removed.append(record)

    def keep(self, record: PlainRecord) -> PlainRecord:
        removed = self.removed
        self.removed = []
        if "active" not in record.arrays:
            self.silent = None  # a step that was not finite ends a silence
            return record
        with_silences = replace(record, arrays=record.arrays | self._silences(record))
        return _with_summed_shifts(with_silences, [*removed, record])

    def _silences(self, record: PlainRecord) -> dict[str, Array]:
        is_active = record.arrays["active"] > 0
        previous = np.zeros(is_active.size) if self.silent is None else self.silent
        self.silent = np.where(is_active, 0, previous + record.scalars["n_examples"])
        return {"silent": self.silent, "longest_silence": np.where(is_active, previous, 0)}


def _with_summed_shifts(record: PlainRecord, parts: Sequence[PlainRecord]) -> PlainRecord:
    """Return the record with the change since the previous kept step; without it if any part lacks it."""
    if not all(name in part.arrays for part in parts for name in SHIFTS):
        arrays = {name: values for name, values in record.arrays.items() if name not in SHIFTS}
        return PlainRecord(record.scalars | {"since_step": None}, arrays)
    sums = {name: np.sum([part.arrays[name].astype(np.float64) for part in parts], axis=0) for name in SHIFTS}
    since_step = {"since_step": parts[0].scalars["since_step"]}
    return PlainRecord(record.scalars | since_step, record.arrays | sums)
