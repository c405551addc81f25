"""A table of records as the wire has it, and back: each column as base64 of a little-endian array.

Packing keeps every number, except where the caller names columns for which float16 will do.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from relumine.table import BITS, DEFAULTS, MAX_STEP, PLACE, SCALARS, UNIT_COLUMNS, WHOLE, Array, RecordTable

COUNTS = frozenset({"active", "active_positions", "silent", "longest_silence"})
HALF_RANGE = (6e-5, 6e4)  # below, float16 loses its decimals; above, everything
PIECE_COST = 256  # bytes that a narrower dtype must save: a piece costs 40 on the wire, and time on both sides
UNSIGNED = ("u1", "u2", "u4")
MAX_RECORD_UNITS = 1_000_000
LARGEST = float(np.finfo(np.float32).max)
KNOWN = (1 << len(UNIT_COLUMNS)) - 1  # a newer SDK may send more


def pack(table: RecordTable, half: Collection[str] = ()) -> dict[str, Any]:
    """The table as JSON values; ``half`` are unit columns that float16 may hold where their range allows it."""
    sent: dict[str, Any] = {"scalars": {}}
    for name in SCALARS:
        values = table.scalars.get(name)
        if values is not None and not _is_default(name, values):
            sent["scalars"][name] = column(_narrow(values))
    if table.columns:
        sent["unit_counts"], sent["unit_columns"] = column(_narrow(table.units)), column(_narrow(table.present))
        sent["units"] = {name: _pieces(table, name, half) for name in table.columns}
    if any(table.learning_rates):
        sent["rate_counts"] = column(_narrow(np.array([len(own or ()) for own in table.learning_rates])))
        sent["rates"] = column(np.array([rate for own in table.learning_rates for rate in own or ()], np.float64))
    return sent


def column(values: Array) -> dict[str, str]:
    """One packed column."""
    kind = values.dtype.kind + str(values.dtype.itemsize)
    return {"dtype": kind, "data": base64.b64encode(values.astype("<" + kind, copy=False).tobytes()).decode("ascii")}


def _is_default(name: str, values: Array) -> bool:
    """Whether leaving a column out says the same."""
    if name in WHOLE:
        return name in DEFAULTS and bool((values == DEFAULTS[name]).all())
    return bool(np.isnan(values).all())


def _narrow(values: Array) -> Array:
    """The smallest dtype of the wire that holds these numbers exactly."""
    if values.dtype.kind in "iu":
        largest = int(values.max(initial=0))
        fitting = (kind for kind in UNSIGNED if largest <= np.iinfo(kind).max)
        return values.astype(next(fitting, "f8"))
    single = values.astype(np.float32)
    return single if bool(((single == values) | np.isnan(values)).all()) else values.astype(np.float64)


def _pieces(table: RecordTable, name: str, half: Collection[str]) -> list[dict[str, str]]:
    """A unit column in as few pieces as save bytes: neighbours of like dtype together."""
    whole, starts = table.columns[name], table.starts[name]
    filled = np.flatnonzero(np.diff(starts))
    if not filled.size:
        return [column(_wide(name, whole))]
    begins = starts[:-1][filled]
    kinds = _kinds(name, whole, begins, half)
    whole = _rounded(whole, np.diff(begins, append=whole.size), kinds)
    joined: list[list[Any]] = []
    for kind, begin, end in zip(kinds, begins.tolist(), [*begins[1:].tolist(), whole.size], strict=True):
        if joined and _may_join(joined[-1], kind, end - begin):
            joined[-1][0], joined[-1][2] = max(kind, joined[-1][0], key=_width), end
        else:
            joined.append([kind, begin, end])
    return [column(whole[begin:end].astype("<" + kind)) for kind, begin, end in joined]


def _wide(name: str, values: Array) -> Array:
    return values.astype("u1" if name in COUNTS else "f4")


def _kinds(name: str, whole: Array, begins: Array, half: Collection[str]) -> list[str]:
    """The dtype that each record's part needs."""
    if name in COUNTS and bool((whole == np.floor(whole)).all()):
        largest = np.maximum.reduceat(whole, begins)
        return [
            UNSIGNED[i] if i < len(UNSIGNED) else "f8" for i in np.searchsorted([2**8, 2**16, 2**32], largest, "right")
        ]
    kind = whole.dtype.kind + str(whole.dtype.itemsize) if whole.dtype.kind == "f" else "f8"
    if name not in half:
        return [kind] * begins.size
    largest = np.maximum(np.maximum.reduceat(whole, begins), -np.minimum.reduceat(whole, begins))
    low, high = HALF_RANGE
    return ["f2" if fits else kind for fits in (largest == 0) | ((largest > low) & (largest < high))]


def _rounded(whole: Array, sizes: Array, kinds: Sequence[str]) -> Array:
    """Records for which float16 will do, in it: what they say must not depend on whom they share a piece with."""
    halves = np.array(kinds) == "f2"
    if halves.all() or not halves.any():
        return whole
    rounded, of_halves = whole.copy(), np.repeat(halves, sizes)
    rounded[of_halves] = whole[of_halves].astype(np.float16)
    return rounded


def _may_join(before: Sequence[Any], kind: str, units: int) -> bool:
    known, begin, end = before
    gained = _width(kind) - _width(known)
    return gained * (end - begin) < PIECE_COST if gained > 0 else -gained * units < PIECE_COST


def _width(kind: str) -> int:
    return int(kind[1])


def unpack(
    scalars: Mapping[str, Array],
    unit_counts: Array,
    unit_columns: Array,
    units: Mapping[str, Sequence[Array]],
    rate_counts: Array,
    rates: Array,
) -> RecordTable:
    """The table of decoded columns, in the order of a series. Raises ValueError where they contradict each other."""
    size = max((values.size for values in scalars.values()), default=0)
    table = RecordTable(
        {name: _scalar(name, scalars.get(name), size) for name in SCALARS},
        _integers("unit_counts", unit_counts, size, MAX_RECORD_UNITS),
        _integers("unit_columns", unit_columns, size, MAX_STEP) & KNOWN,
        {
            name: np.concatenate(units[name]) if len(units[name]) > 1 else units[name][0]
            for name in BITS
            if name in units
        },
        _rates(_integers("rate_counts", rate_counts, size, 1000), rates),
    )
    check(table)
    return table.in_order()


def check(table: RecordTable) -> None:
    """Raise ValueError where a number is not finite, or columns and records do not fit together."""
    if (table.scalars["first_step"] > table.scalars["step"]).any():
        raise ValueError("first_step lies after step")
    if not np.isfinite([rate for own in table.learning_rates for rate in own or ()]).all():
        raise ValueError("a learning rate is not finite")
    told = np.bitwise_or.reduce(table.present, initial=0)
    for name, bit in BITS.items():
        if bool(told & bit) != (name in table.columns):
            raise ValueError(f"unit_columns does not fit the column {name}")
    for name, values in table.columns.items():
        if table.starts[name][-1] != values.size:
            raise ValueError(f"column {name} has another number of units than its records")
        check_unit_column(name, values)
    check_needed(table)


def check_unit_column(name: str, values: Array) -> None:
    """Raise ValueError for what float32 cannot hold, in which units are judged, and for counts that are none."""
    bounded = np.isfinite(values) if values.dtype.itemsize < 8 else np.abs(values) <= LARGEST
    if values.dtype.kind == "f" and not bounded.all():
        raise ValueError(f"column {name} holds a number that is not finite in float32")
    if name in COUNTS and values.size and (values.min() < 0 or values.max() > MAX_STEP):
        raise ValueError(f"column {name} holds a count that cannot be")


def check_needed(table: RecordTable) -> None:
    """Raise ValueError where a layer's record lacks the column active without saying why."""
    bits, scalars = table.present, table.scalars
    speaks = (scalars["layer_id"] > 0) & ((bits > 0) | (scalars["n_examples"] > 0))
    if (speaks & ((bits & BITS["active"]) == 0) & (scalars["nonfinite"] == 0)).any():
        raise ValueError("a record of a layer needs the column active")


def _scalar(name: str, values: Array | None, size: int) -> Array:
    if name in WHOLE:
        if values is None and name in PLACE and size:
            raise ValueError(f"records need {name}")
        kept = np.full(size, DEFAULTS.get(name, 0)) if values is None else values
        return _integers(name, kept, size, MAX_STEP, least=int(name == "sampled_steps"))
    if values is None:
        return np.full(size, np.nan)
    if values.size != size or np.isinf(values).any():
        raise ValueError(f"column {name} is of another length, or infinite")
    wide: Array = values.astype(np.float64)
    if name == "since_step" and (wide != np.floor(wide))[~np.isnan(wide)].any():
        raise ValueError("since_step is no whole number")
    return wide


def _integers(name: str, values: Array, size: int, most: int, *, least: int = 0) -> Array:
    """A column of whole numbers in their range."""
    kept = np.zeros(size, np.int64) if not values.size else values
    with np.errstate(invalid="ignore"):  # NaN becomes some number that differs from it
        whole: Array = kept.astype(np.int64)
    good = kept.size == size and (not size or (whole.min() >= least and whole.max() <= most))
    if not good or (kept.dtype.kind == "f" and not (whole == kept).all()):
        raise ValueError(f"column {name} is of another length, or holds numbers that cannot be")
    return whole


def _rates(counts: Array, rates: Array) -> tuple[tuple[float, ...] | None, ...]:
    ends = np.cumsum(counts)
    if (ends[-1] if ends.size else 0) != rates.size:
        raise ValueError("rates does not fit rate_counts")
    listed = rates.tolist()
    return tuple(
        tuple(listed[end - n : end]) if n else None for end, n in zip(ends.tolist(), counts.tolist(), strict=True)
    )


def from_json(sent: Mapping[str, Any]) -> RecordTable:
    """The table that ``pack`` made JSON of."""
    nothing = {"dtype": "u1", "data": ""}
    return unpack(
        {name: _array(one) for name, one in sent["scalars"].items()},
        _array(sent.get("unit_counts", nothing)),
        _array(sent.get("unit_columns", nothing)),
        {name: [_array(one) for one in pieces] for name, pieces in sent.get("units", {}).items()},
        _array(sent.get("rate_counts", nothing)),
        _array(sent.get("rates", nothing)),
    )


def _array(sent: Mapping[str, str]) -> Array:
    return np.frombuffer(base64.b64decode(sent["data"]), "<" + sent["dtype"])
