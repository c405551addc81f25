"""Records side by side: a column per statistic, the units of all records one after the other.

What travels, is stored and is judged in bulk. Pure values; it must not know JSON, HTTP or a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
"""Per-unit statistics of a record, each of shape (units,). Counts are in examples unless they say positions."""

PLACE = ("layer_id", "first_step", "step", "since_step")
"""Which layer and which steps a record speaks of."""

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
"""Numbers of a record that are stored as a series; the last seven belong to layer 0, the run itself."""

SCALARS = (*PLACE, *RECORD_SCALARS)
WHOLE = (*PLACE[:3], *RECORD_SCALARS[:5])
"""Integers that every record has; the other scalars are real numbers, or not there."""

DEFAULTS: Mapping[str, int] = {"sampled_steps": 1, "n_examples": 0, "n_positions": 0, "nonfinite": 0, "marks": 0}
MAX_STEP = 2**53 - 1  # the largest integer that JavaScript readers hold exactly
BITS: Mapping[str, int] = {name: 1 << place for place, name in enumerate(UNIT_COLUMNS)}


class Row(NamedTuple):
    """One record of a table. A scalar that was not measured is None."""

    table: RecordTable
    place: int
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
        """Whether a per-unit column is present."""
        return bool(self.bits & BITS[name])

    def arrays(self) -> dict[str, Array]:
        """The per-unit columns that are present, by name, each of shape (units,)."""
        return self.table.arrays(self.place)


class Recorded(Protocol):
    """Anything with the fields of a record."""

    layer_id: int
    learning_rates: Any

    def arrays(self) -> dict[str, Array]:
        """The per-unit columns that are present."""
        ...


@dataclass(frozen=True, eq=False)
class RecordTable(Sequence[Row]):
    """``n`` records. ``scalars`` by name, shape (n,): whole numbers as int64, others as float64 with NaN for none.

    ``units`` (n,) is how many units a record has, ``present`` (n,) which of ``UNIT_COLUMNS`` as bits; ``columns``
    holds each of them for the records that have it, in their order, so its size is the sum of their units.
    """

    scalars: Mapping[str, Array]
    units: Array
    present: Array
    columns: Mapping[str, Array]
    learning_rates: tuple[tuple[float, ...] | None, ...]

    @classmethod
    def of(cls, records: Iterable[Recorded]) -> RecordTable:
        """A table of single records."""
        rows = list(records)
        fields = [{name: getattr(row, name) for name in (*SCALARS, "learning_rates")} for row in rows]
        return cls.build(fields, [row.arrays() for row in rows])

    @classmethod
    def build(cls, scalars: Sequence[Mapping[str, Any]], arrays: Sequence[Mapping[str, Array]]) -> RecordTable:
        """A table of scalars by name, ``learning_rates`` among them, and unit columns by name, per record."""
        columns = {
            name: np.concatenate([own[name] for own in arrays if name in own])
            for name in UNIT_COLUMNS
            if any(name in own for own in arrays)
        }
        rates = [one.get("learning_rates") for one in scalars]
        return cls(
            {name: _scalar(name, [one.get(name, DEFAULTS.get(name)) for one in scalars]) for name in SCALARS},
            np.array([next((v.size for v in own.values()), 0) for own in arrays], np.int64),
            np.array([sum(BITS[name] for name in own) for own in arrays], np.int64),
            columns,
            tuple(tuple(own) if own else None for own in rates),
        )

    def __len__(self) -> int:
        return int(self.units.size)

    def __getitem__(self, place: Any) -> Any:
        return self.take(np.arange(len(self))[place]) if isinstance(place, slice) else self.rows[place]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @cached_property
    def rows(self) -> list[Row]:
        """The records one by one."""
        values = [_listed(name, self.scalars.get(name), len(self)) for name in SCALARS]
        return [
            Row._make((self, place, *fields))
            for place, fields in enumerate(
                zip(*values, self.learning_rates, self.units.tolist(), self.present.tolist(), strict=True)
            )
        ]

    @cached_property
    def starts(self) -> Mapping[str, Array]:
        """Where each record's part of a column begins, and where the last one's ends: shape (n + 1,)."""
        bits = np.array([BITS[name] for name in self.columns], np.int64)
        held = np.zeros((len(self) + 1, bits.size), np.int64)
        np.multiply(self.units[:, None], (self.present[:, None] & bits) > 0, out=held[1:])
        return dict(zip(self.columns, np.cumsum(held, axis=0).T, strict=True))

    def arrays(self, place: int) -> dict[str, Array]:
        """The per-unit columns of one record."""
        bits = int(self.present[place])
        return {
            name: values[self.starts[name][place] : self.starts[name][place + 1]]
            for name, values in self.columns.items()
            if bits & BITS[name]
        }

    def span(self, name: str, first: int, last: int) -> Array | None:
        """A column of the records ``first`` to ``last`` together; None where nobody has it."""
        if name not in self.columns:
            return None
        starts = self.starts[name]
        return self.columns[name][starts[first] : starts[last + 1]]

    def in_order(self) -> RecordTable:
        """The same records by step, then layer: the order in which a series is folded."""
        step, layer = self.scalars["step"], self.scalars["layer_id"]
        order = np.lexsort((layer, step))
        return self if bool((order == np.arange(order.size)).all()) else self.take(order)

    def take(self, places: Array) -> RecordTable:
        """The records at these places, in this order (shape (m,), integers)."""
        columns = {}
        for name, values in self.columns.items():
            own = [p for p in places.tolist() if self.present[p] & BITS[name]]
            starts = self.starts[name]
            if own:
                columns[name] = np.concatenate([values[starts[p] : starts[p + 1]] for p in own])
        return RecordTable(
            {name: values[places] for name, values in self.scalars.items()},
            self.units[places],
            self.present[places],
            columns,
            tuple(self.learning_rates[p] for p in places.tolist()),
        )


def _scalar(name: str, values: Sequence[Any]) -> Array:
    if name in WHOLE:
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _listed(name: str, values: Array | None, length: int) -> list[Any]:
    """A scalar column as Python's own numbers, None for what was not measured."""
    if values is None:
        return [DEFAULTS.get(name)] * length
    listed: list[Any] = values.tolist()
    if name in WHOLE:
        return listed
    kind = int if name == "since_step" else float
    return [None if value != value else kind(value) for value in listed]  # noqa: PLR0124 - NaN is what differs from itself
