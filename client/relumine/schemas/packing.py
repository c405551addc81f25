"""Records as JSON and back: each column of the table as base64 of a little-endian array.

Packing keeps every number exactly, except in columns that the caller names as good enough in float16.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record_table import (
    COLUMN_BITS,
    DEFAULTS,
    INTEGER_COLUMNS,
    KEY_COLUMNS,
    SCALARS,
    UNIT_COLUMNS,
    Array,
    RecordTable,
)

COUNT_COLUMNS = frozenset({"active", "active_positions", "silent", "longest_silence"})
FLOAT16_RANGE = (6e-5, 6e4)
"""Absolute values that float16 holds well: below it loses digits, above it overflows."""
PIECE_COST = 256
"""Bytes that a narrower dtype must save to be worth a piece of its own: a piece costs 40 on the wire, and time on both
sides."""
UNSIGNED = ("u1", "u2", "u4")
MAX_RECORD_UNITS = 1_000_000
MAX_LEARNING_RATES = 1_000
MAX_UNIT_VALUE = float(np.finfo(np.float32).max)
ALL_COLUMN_BITS = (1 << len(UNIT_COLUMNS)) - 1  # a newer SDK may send more
_FLOAT_COLUMNS = tuple(name for name in SCALARS if name not in INTEGER_COLUMNS)


class _Piece(NamedTuple):
    """Neighbouring values of a column that are sent in one dtype."""

    dtype: str
    start: int
    end: int


def pack(records: RecordTable, half: Collection[str] = ()) -> dict[str, Any]:
    """Return records as JSON values. ``half`` names unit columns to send as float16 where their range allows it."""
    packed: dict[str, Any] = {"scalars": {}}
    for name in SCALARS:
        values = records.scalars.get(name)
        if values is not None and not _is_default(name, values):
            packed["scalars"][name] = pack_column(_narrow(values))
    if records.columns:
        packed["unit_counts"] = pack_column(_narrow(records.units))
        packed["unit_columns"] = pack_column(_narrow(records.present))
        packed["units"] = {name: _pack_unit_column(records, name, half) for name in records.columns}
    if any(records.learning_rates):
        counts = [len(rates or ()) for rates in records.learning_rates]
        rates = [rate for rates in records.learning_rates for rate in rates or ()]
        packed["rate_counts"] = pack_column(_narrow(np.array(counts)))
        packed["rates"] = pack_column(np.array(rates, np.float64))
    return packed


def pack_column(values: Array) -> dict[str, str]:
    """Return one packed column in the dtype of ``values``."""
    dtype = _wire_dtype(values)
    raw = values.astype("<" + dtype, copy=False).tobytes()
    return {"dtype": dtype, "data": base64.b64encode(raw).decode("ascii")}


def _wire_dtype(values: Array) -> str:
    return values.dtype.kind + str(values.dtype.itemsize)


def _is_default(name: str, values: Array) -> bool:
    """Return True if a column may be left out."""
    if name in INTEGER_COLUMNS:
        return name in DEFAULTS and bool((values == DEFAULTS[name]).all())
    return bool(np.isnan(values).all())


def _narrow(values: Array) -> Array:
    """Return values in the smallest dtype of the wire that holds them exactly."""
    if values.dtype.kind in "iu":
        largest = int(values.max(initial=0))
        fitting = (dtype for dtype in UNSIGNED if largest <= np.iinfo(dtype).max)
        return values.astype(next(fitting, "f8"))
    single = values.astype(np.float32)
    is_exact = bool(((single == values) | np.isnan(values)).all())
    return single if is_exact else values.astype(np.float64)


def _pack_unit_column(records: RecordTable, name: str, half: Collection[str]) -> list[dict[str, str]]:
    """Return a unit column in the fewest pieces that save bytes: neighbours of similar dtype are joined."""
    values = records.columns[name]
    starts = records.starts[name]
    filled = np.flatnonzero(np.diff(starts))
    if not filled.size:
        return [pack_column(values.astype("u1" if name in COUNT_COLUMNS else "f4"))]
    starts = starts[:-1][filled]
    dtypes = _dtypes_of_records(name, values, starts, half)
    values = _rounded_to_float16(values, np.diff(starts, append=values.size), dtypes)
    pieces: list[_Piece] = []
    for dtype, start, end in zip(dtypes, starts.tolist(), [*starts[1:].tolist(), values.size], strict=True):
        if pieces and _is_worth_joining(pieces[-1], dtype, end - start):
            widest = max(dtype, pieces[-1].dtype, key=_width)
            pieces[-1] = _Piece(widest, pieces[-1].start, end)
        else:
            pieces.append(_Piece(dtype, start, end))
    return [pack_column(values[piece.start : piece.end].astype("<" + piece.dtype)) for piece in pieces]


def _dtypes_of_records(name: str, values: Array, starts: Array, half: Collection[str]) -> list[str]:
    """Return the narrowest dtype for the part of each record in a unit column."""
    if name in COUNT_COLUMNS and bool((values == np.floor(values)).all()):
        largest = np.maximum.reduceat(values, starts)
        choices = np.searchsorted([2**8, 2**16, 2**32], largest, "right")
        return [(*UNSIGNED, "f8")[choice] for choice in choices.tolist()]
    dtype = _wire_dtype(values) if values.dtype.kind == "f" else "f8"
    if name not in half:
        return [dtype] * starts.size
    largest = np.maximum(np.maximum.reduceat(values, starts), -np.minimum.reduceat(values, starts))
    low, high = FLOAT16_RANGE
    fits_float16 = (largest == 0) | ((largest > low) & (largest < high))
    return ["f2" if fits else dtype for fits in fits_float16.tolist()]


def _rounded_to_float16(values: Array, sizes: Array, dtypes: Sequence[str]) -> Array:
    """Return values with the parts that fit float16 rounded to it.

    A record must not be more precise because it shares a piece with one that needs a wider dtype.
    """
    is_half = np.array(dtypes) == "f2"
    if is_half.all() or not is_half.any():
        return values
    rounded = values.copy()
    of_halves = np.repeat(is_half, sizes)
    rounded[of_halves] = values[of_halves].astype(np.float16)
    return rounded


def _is_worth_joining(piece: _Piece, dtype: str, units: int) -> bool:
    """Return True if joining ``units`` more values to a piece costs less than a piece of their own."""
    added_width = _width(dtype) - _width(piece.dtype)
    if added_width > 0:
        return added_width * (piece.end - piece.start) < PIECE_COST
    return -added_width * units < PIECE_COST


def _width(dtype: str) -> int:
    return int(dtype[1])


def unpack(
    scalars: Mapping[str, Array],
    unit_counts: Array,
    unit_columns: Array,
    units: Mapping[str, Sequence[Array]],
    rate_counts: Array,
    rates: Array,
) -> RecordTable:
    """Return the records of decoded columns, sorted by step. Raises ValueError where columns contradict each other."""
    size = max((values.size for values in scalars.values()), default=0)
    columns = {}
    for name in COLUMN_BITS:
        if name in units:
            pieces = units[name]
            columns[name] = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    records = RecordTable(
        scalars=_check_scalars(scalars, size),
        units=_check_integers("unit_counts", unit_counts, size, MAX_RECORD_UNITS),
        present=_check_integers("unit_columns", unit_columns, size, MAX_STEP) & ALL_COLUMN_BITS,
        columns=columns,
        learning_rates=_split_rates(_check_integers("rate_counts", rate_counts, size, MAX_LEARNING_RATES), rates),
    )
    _check_records(records)
    return records.sorted_by_step()


def _check_records(records: RecordTable) -> None:
    """Raise ValueError where a number is not finite, or columns and records do not fit together."""
    if (records.scalars["first_step"] > records.scalars["step"]).any():
        raise ValueError("first_step lies after step")
    if not np.isfinite([rate for rates in records.learning_rates for rate in rates or ()]).all():
        raise ValueError("a learning rate is not finite")
    present = np.bitwise_or.reduce(records.present, initial=0)
    for name, bit in COLUMN_BITS.items():
        if bool(present & bit) != (name in records.columns):
            raise ValueError(f"unit_columns does not fit the column {name}")
    for name, values in records.columns.items():
        if records.starts[name][-1] != values.size:
            raise ValueError(f"column {name} does not have as many units as its records")
        check_unit_column(name, values)
    _check_active(records)


def check_unit_column(name: str, values: Array) -> None:
    """Raise ValueError for a value that float32, the dtype of the detector, cannot hold, and for an invalid count."""
    if not values.size:
        return
    # As Python's numbers: in float16 the comparisons would overflow, with a warning. NaN fits no range.
    lowest = float(values.min())
    highest = float(values.max())
    if not -MAX_UNIT_VALUE <= lowest <= highest <= MAX_UNIT_VALUE:
        raise ValueError(f"column {name} contains a number that is not finite in float32")
    if name in COUNT_COLUMNS and (lowest < 0 or highest > MAX_STEP):
        raise ValueError(f"column {name} contains a count that is out of range")


def _check_active(records: RecordTable) -> None:
    """Raise ValueError if a layer's record has statistics without the column ``active``, and no non-finite values."""
    present = records.present
    has_statistics = (records.scalars["layer_id"] > 0) & ((present > 0) | (records.scalars["n_examples"] > 0))
    lacks_active = (present & COLUMN_BITS["active"]) == 0
    if (has_statistics & lacks_active & (records.scalars["nonfinite"] == 0)).any():
        raise ValueError("a record of a layer needs the column active")


def _check_scalars(sent: Mapping[str, Array], size: int) -> dict[str, Array]:
    """Return the scalar columns of length ``size`` in the dtype of the table, the default where one was not sent.

    Those that are no integers are rows of one array: most are not sent, and all are checked at once.
    """
    columns: dict[str, Array] = {}
    floats = np.full((len(_FLOAT_COLUMNS), size), np.nan)
    for row, name in enumerate(_FLOAT_COLUMNS):
        columns[name] = floats[row]
        values = sent.get(name)
        if values is None:
            continue
        if values.size != size:
            raise ValueError(f"column {name} has a different length, or contains infinities")
        columns[name][:] = values
    infinite = np.isinf(floats).any(axis=1)
    if infinite.any():
        name = _FLOAT_COLUMNS[int(infinite.argmax())]
        raise ValueError(f"column {name} has a different length, or contains infinities")
    since_step = columns["since_step"]
    if (since_step != np.floor(since_step))[~np.isnan(since_step)].any():
        raise ValueError("since_step is not an integer")
    for name in INTEGER_COLUMNS:
        columns[name] = _check_integer_scalar(name, sent.get(name), size)
    return {name: columns[name] for name in SCALARS}


def _check_integer_scalar(name: str, values: Array | None, size: int) -> Array:
    if values is None:
        if name in KEY_COLUMNS and size:
            raise ValueError(f"records need {name}")
        return np.full(size, DEFAULTS.get(name, 0))
    return _check_integers(name, values, size, MAX_STEP, minimum=int(name == "sampled_steps"))


def _check_integers(name: str, values: Array, size: int, maximum: int, *, minimum: int = 0) -> Array:
    """Return a column as int64; zeros where it was not sent."""
    numbers = values if values.size else np.zeros(size, np.int64)
    if numbers.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NaN becomes some integer, which differs from it
            integers: Array = numbers.astype(np.int64)
    else:
        integers = numbers.astype(np.int64)
    is_in_range = numbers.size == size and (not size or (integers.min() >= minimum and integers.max() <= maximum))
    if not is_in_range or (numbers.dtype.kind == "f" and not (integers == numbers).all()):
        raise ValueError(f"column {name} has a different length, or contains numbers out of range")
    return integers


def _split_rates(counts: Array, rates: Array) -> tuple[tuple[float, ...] | None, ...]:
    """Return the learning rates of each record; None for a record without any."""
    ends = np.cumsum(counts)
    if (ends[-1] if ends.size else 0) != rates.size:
        raise ValueError("rates does not fit rate_counts")
    numbers = rates.tolist()
    split: list[tuple[float, ...] | None] = []
    for end, count in zip(ends.tolist(), counts.tolist(), strict=True):
        split.append(tuple(numbers[end - count : end]) if count else None)
    return tuple(split)


def from_json(packed: Mapping[str, Any]) -> RecordTable:
    """Return the records that ``pack`` returned as JSON values."""
    empty = {"dtype": "u1", "data": ""}
    return unpack(
        scalars={name: _unpack_column(column) for name, column in packed["scalars"].items()},
        unit_counts=_unpack_column(packed.get("unit_counts", empty)),
        unit_columns=_unpack_column(packed.get("unit_columns", empty)),
        units={name: [_unpack_column(piece) for piece in pieces] for name, pieces in packed.get("units", {}).items()},
        rate_counts=_unpack_column(packed.get("rate_counts", empty)),
        rates=_unpack_column(packed.get("rates", empty)),
    )


def _unpack_column(column: Mapping[str, str]) -> Array:
    return np.frombuffer(base64.b64decode(column["data"]), "<" + column["dtype"])
