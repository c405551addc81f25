"""A table of records: one array per statistic, the units of all records one after the other.

Records are sent, stored and analyzed in this form. Pure values; no JSON, HTTP or database here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

UNIT_COLUMNS = (
    "active",
    "active_positions",
    "silent",
    "longest_silence",
    "mean",
    "var",
    "max",
    "bias",
    "update_shift",
    "shift_weight",
    "shift_input",
    "shift_bias",
)
"""Per-unit statistics of a record, each of shape (units,). Counts are of examples unless the name says positions."""

KEY_COLUMNS = ("layer_id", "first_step", "step", "since_step")
"""The layer and the steps of a record."""

RECORD_SCALARS = (
    "sampled_steps",
    "n_examples",
    "n_positions",
    "nonfinite",
    "marks",
    "learning_rate",
    "weight_norm",
    "update_norm",
    "grad_norm",
    "input_mean",
    "input_std",
    "input_min",
    "input_max",
    "update_ratio",
    "output_spread",
    "loss",
)
"""Scalars of a record that are stored as a series; the last seven belong to layer 0, the run itself."""

SCALARS = (*KEY_COLUMNS, *RECORD_SCALARS)
INTEGER_COLUMNS = (*KEY_COLUMNS[:3], *RECORD_SCALARS[:5])
"""Scalars that are integers and that every record has. The others are floats, NaN where nothing was measured."""

DEFAULTS: Mapping[str, int] = {"sampled_steps": 1, "n_examples": 0, "n_positions": 0, "nonfinite": 0, "marks": 0}
COLUMN_BITS: Mapping[str, int] = {name: 1 << number for number, name in enumerate(UNIT_COLUMNS)}


class Row(NamedTuple):
    """One record of a table, at ``position``. A scalar that was not measured is None; ``bits`` name its columns."""

    records: RecordTable
    position: int
    layer_id: int
    first_step: int
    step: int
    since_step: int | None
    sampled_steps: int
    n_examples: int
    n_positions: int
    nonfinite: int
    marks: int
    learning_rate: float | None
    weight_norm: float | None
    update_norm: float | None
    grad_norm: float | None
    input_mean: float | None
    input_std: float | None
    input_min: float | None
    input_max: float | None
    update_ratio: float | None
    output_spread: float | None
    loss: float | None
    learning_rates: tuple[float, ...] | None
    units: int
    bits: int

    def has(self, name: str) -> bool:
        """Return True if a per-unit column is present."""
        return bool(self.bits & COLUMN_BITS[name])

    def arrays(self) -> dict[str, Array]:
        """Return the per-unit columns that are present, by name, each of shape (units,)."""
        return self.records.arrays(self.position)


class RecordLike(Protocol):
    """An object with the fields of a record."""

    layer_id: int
    learning_rates: Any

    def arrays(self) -> dict[str, Array]:
        """Return the per-unit columns that are present, by name."""
        ...


@dataclass(frozen=True, eq=False)
class RecordTable(Sequence[Row]):
    """``n`` records. ``scalars`` by name, shape (n,): integers as int64, others as float64 with NaN for missing.

    ``units`` (n,) counts the units of each record. ``present`` (n,) has a bit for each of ``UNIT_COLUMNS`` that the
    record has. ``columns`` are the values of those records one after the other: their units add up to its size.
    """

    scalars: Mapping[str, Array]
    units: Array
    present: Array
    columns: Mapping[str, Array]
    learning_rates: tuple[tuple[float, ...] | None, ...]

    @classmethod
    def from_records(cls, records: Iterable[RecordLike]) -> RecordTable:
        """Return a table of single records."""
        rows = list(records)
        scalars = [{name: getattr(row, name) for name in (*SCALARS, "learning_rates")} for row in rows]
        return cls.from_values(scalars, [row.arrays() for row in rows])

    @classmethod
    def from_values(cls, scalars: Sequence[Mapping[str, Any]], arrays: Sequence[Mapping[str, Array]]) -> RecordTable:
        """Return a table of the scalars, ``learning_rates`` included, and the unit columns of each record, by name."""
        names = (*SCALARS, "learning_rates")
        columns = {name: [of_record.get(name, DEFAULTS.get(name)) for of_record in scalars] for name in names}
        return cls.from_columns(columns, arrays)

    @classmethod
    def from_columns(cls, scalars: Mapping[str, Sequence[Any]], arrays: Sequence[Mapping[str, Array]]) -> RecordTable:
        """Return a table of columns of scalars, ``learning_rates`` included, and the unit columns of each record."""
        columns = {}
        for name in UNIT_COLUMNS:
            parts = [of_record[name] for of_record in arrays if name in of_record]
            if parts:
                columns[name] = np.concatenate(parts)
        return cls(
            scalars=_scalar_columns(scalars, len(arrays)),
            units=np.array([_unit_count(of_record) for of_record in arrays], np.int64),
            present=np.array([sum(map(COLUMN_BITS.__getitem__, of_record)) for of_record in arrays], np.int64),
            columns=columns,
            learning_rates=tuple(tuple(rates) if rates else None for rates in scalars["learning_rates"]),
        )

    def __len__(self) -> int:
        return int(self.units.size)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return self.take(np.arange(len(self))[position])
        return self.rows[position]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @cached_property
    def rows(self) -> list[Row]:
        """The records one by one."""
        scalars = [_to_python(name, self.scalars.get(name), len(self)) for name in SCALARS]
        columns = zip(*scalars, self.learning_rates, self.units.tolist(), self.present.tolist(), strict=True)
        return [Row._make((self, position, *values)) for position, values in enumerate(columns)]

    @cached_property
    def starts(self) -> Mapping[str, Array]:
        """The start of each record's part of a column, and the end of the last part: shape (n + 1,)."""
        bits = np.array([COLUMN_BITS[name] for name in self.columns], np.int64)
        sizes = np.zeros((len(self) + 1, bits.size), np.int64)
        np.multiply(self.units[:, None], (self.present[:, None] & bits) > 0, out=sizes[1:])
        return dict(zip(self.columns, np.cumsum(sizes, axis=0).T, strict=True))

    def arrays(self, position: int) -> dict[str, Array]:
        """Return the per-unit columns of one record by name."""
        bits = int(self.present[position])
        return {
            name: values[self.starts[name][position] : self.starts[name][position + 1]]
            for name, values in self.columns.items()
            if bits & COLUMN_BITS[name]
        }

    def span(self, name: str, first: int, last: int) -> Array | None:
        """Return a column of the records ``first`` to ``last``, one after the other; None if no record has it."""
        if name not in self.columns:
            return None
        starts = self.starts[name]
        return self.columns[name][starts[first] : starts[last + 1]]

    def sorted_by_step(self) -> RecordTable:
        """Return the records by step, then layer: the order in which the detector processes a series."""
        order = np.lexsort((self.scalars["layer_id"], self.scalars["step"]))
        return self if bool((order == np.arange(order.size)).all()) else self.take(order)

    def take(self, indices: Array) -> RecordTable:
        """Return the records at these indices, in this order (shape (m,), integers)."""
        columns = {}
        for name, values in self.columns.items():
            starts = self.starts[name]
            chosen = [index for index in indices.tolist() if self.present[index] & COLUMN_BITS[name]]
            if chosen:
                columns[name] = np.concatenate([values[starts[index] : starts[index + 1]] for index in chosen])
        return RecordTable(
            scalars={name: values[indices] for name, values in self.scalars.items()},
            units=self.units[indices],
            present=self.present[indices],
            columns=columns,
            learning_rates=tuple(self.learning_rates[index] for index in indices.tolist()),
        )

    def unit_range(self, start: int, stop: int) -> RecordTable:
        """Return the only record with its units from ``start`` up to, but without, ``stop``."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return replace(self, units=np.array([stop - start], np.int64), columns=columns)


def _unit_count(arrays: Mapping[str, Array]) -> int:
    return next((values.size for values in arrays.values()), 0)


def _scalar_columns(scalars: Mapping[str, Sequence[Any]], length: int) -> dict[str, Array]:
    """Return scalars as columns. All that were not measured at all are one array: usually that is most of them."""
    unmeasured = np.full(length, np.nan)
    columns: dict[str, Array] = {}
    for name in SCALARS:
        values = scalars[name]
        if name in INTEGER_COLUMNS:
            columns[name] = np.array(values, np.int64)
        elif all(value is None for value in values):
            columns[name] = unmeasured
        else:
            columns[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return columns


def _to_python(name: str, values: Array | None, length: int) -> list[Any]:
    """Return a scalar column as Python numbers, None for what was not measured."""
    if values is None:
        return [DEFAULTS.get(name)] * length
    numbers: list[Any] = values.tolist()
    if name in INTEGER_COLUMNS:
        return numbers
    kind = int if name == "since_step" else float
    return [None if value != value else kind(value) for value in numbers]  # noqa: PLR0124 - NaN differs from itself
