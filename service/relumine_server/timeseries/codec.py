"""Encoding of the series of a layer: scalars and readings of its records as bytes, column after column. Pure.

The data of a segment is a bit mask of the scalars it holds, then each of them as float64. A scalar that is at its
default in every record of the segment is left out. Readings are float32, all of them or none; NaN where the detector
took none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np

from relumine.schemas.record_table import DEFAULTS, KEY_COLUMNS, RECORD_SCALARS, Array, RecordTable
from relumine.schemas.run import LayerState
from relumine_server.detection.findings import Reading
from relumine_server.timeseries.packing import UnreadableError

SCALARS = (*KEY_COLUMNS[1:], *RECORD_SCALARS)
READINGS = (*(f.name for f in fields(Reading) if f.name not in ("layer_id", "step", "state")), "state")
STATISTICS = (*SCALARS, *READINGS)
SERIES_STATISTICS = (*RECORD_SCALARS, *READINGS[:-1])
"""Statistics that the API serves as series."""
STATES = get_args(LayerState)

_FIRST_STEP = SCALARS.index("first_step")
_STEP = SCALARS.index("step")
_BITS = 1 << np.arange(len(SCALARS), dtype=np.int64)
_DEFAULTS = np.array([DEFAULTS.get(name, np.nan) for name in SCALARS])
_MASK = struct.Struct("<I")
_STATE_CODES = {state: float(code) for code, state in enumerate(STATES)}
_reading_values = attrgetter(*READINGS[:-1])


class Segment(NamedTuple):
    """The encoded records of one layer in one upload. Fields are named after the columns of the table."""

    layer_id: int
    first_step: int
    last_step: int
    record_count: int
    data: bytes
    learning_rates: bytes | None
    readings: bytes | None


class _LayerGroups(NamedTuple):
    """Records grouped by layer: ``order`` (n,) sorts them, ``starts`` and ``counts`` (layers,) delimit each layer."""

    order: Array
    starts: Array
    counts: Array


def encode(records: RecordTable, readings: Sequence[Reading]) -> list[Segment]:
    """Return one segment per layer of an upload. ``records`` and ``readings`` are ordered by step, then layer."""
    if not len(records):
        return []
    layer_ids = records.scalars["layer_id"]
    groups = _group_by_layer(layer_ids)
    scalars = np.empty((len(SCALARS), layer_ids.size))
    for row, name in enumerate(SCALARS):
        scalars[row] = records.scalars[name]
    if (np.diff(layer_ids) < 0).any():
        scalars = scalars[:, groups.order]
    first_steps = np.minimum.reduceat(scalars[_FIRST_STEP], groups.starts)
    last_steps = np.maximum.reduceat(scalars[_STEP], groups.starts)
    columns = (
        layer_ids[groups.order[groups.starts]].tolist(),
        first_steps.astype(np.int64).tolist(),
        last_steps.astype(np.int64).tolist(),
        groups.counts.tolist(),
        _encode_scalars(scalars, groups),
        _encode_learning_rates_by_layer(records, groups),
        _encode_readings(records, readings, groups),
    )
    return [Segment._make(values) for values in zip(*columns, strict=True)]


def _group_by_layer(layer_ids: Array) -> _LayerGroups:
    if bool((layer_ids[1:] > layer_ids[:-1]).all()):  # one record of each layer, as in most uploads
        indices = np.arange(layer_ids.size)
        return _LayerGroups(indices, indices, np.ones_like(indices))
    order = np.argsort(layer_ids, kind="stable")
    starts = np.flatnonzero(np.diff(layer_ids[order], prepend=-1))
    return _LayerGroups(order, starts, np.diff(starts, append=order.size))


def _encode_scalars(scalars: Array, groups: _LayerGroups) -> list[bytes]:
    """Return the data of each segment; segments of the same layout are cut in one operation."""
    is_stored = (scalars == scalars) & (scalars != _DEFAULTS[:, None])  # noqa: PLR0124 - NaN differs from itself
    bits = np.bitwise_or.reduceat(is_stored * _BITS[:, None], groups.starts, axis=1)
    masks = np.bitwise_or.reduce(bits, axis=0)
    encoded: list[bytes] = [b""] * masks.size
    for mask, count in set(zip(masks.tolist(), groups.counts.tolist(), strict=True)):
        alike = np.flatnonzero((masks == mask) & (groups.counts == count))
        parts = _cut(scalars[_rows_of(mask)], groups.starts[alike], count)
        for segment, part in zip(alike.tolist(), parts, strict=True):
            encoded[segment] = _MASK.pack(mask) + part
    return encoded


def _encode_readings(records: RecordTable, readings: Sequence[Reading], groups: _LayerGroups) -> list[bytes | None]:
    """Return the readings of each segment; None for layer 0, and where the detector took none."""
    encoded: list[bytes | None] = [None] * groups.starts.size
    if not readings:
        return encoded
    values = _reading_columns(records, readings)[:, groups.order].astype("<f4")
    has_readings = np.logical_or.reduceat(~np.isnan(values[-1]), groups.starts)
    for count in set(groups.counts.tolist()):
        alike = np.flatnonzero((groups.counts == count) & has_readings)
        parts = _cut(values, groups.starts[alike], count)
        for segment, part in zip(alike.tolist(), parts, strict=True):
            encoded[segment] = part
    return encoded


def _reading_columns(records: RecordTable, readings: Sequence[Reading]) -> Array:
    """Return readings beside their records, shape (readings, n); NaN where none was taken."""
    values = np.array([(*_reading_values(reading), _STATE_CODES[reading.state]) for reading in readings], np.float64)
    indices = np.flatnonzero(records.scalars["layer_id"])
    if indices.size != len(readings):
        index_of = {(record.layer_id, record.step): record.position for record in records}
        indices = np.array([index_of[reading.layer_id, reading.step] for reading in readings])
    columns = np.full((len(READINGS), len(records)), np.nan)
    columns[:, indices] = values.T
    return columns


def _encode_learning_rates_by_layer(records: RecordTable, groups: _LayerGroups) -> list[bytes | None]:
    encoded: list[bytes | None] = [None] * groups.starts.size
    has_rates = np.array([rates is not None for rates in records.learning_rates])[groups.order]
    for segment in np.flatnonzero(np.logical_or.reduceat(has_rates, groups.starts)).tolist():
        start = groups.starts[segment]
        indices = groups.order[start : start + groups.counts[segment]].tolist()
        encoded[segment] = encode_learning_rates([records.learning_rates[index] for index in indices])
    return encoded


def _cut(rows: Array, starts: Array, count: int) -> list[bytes]:
    """Return the bytes of ``rows[:, start : start + count]`` for each start, row after row."""
    if not starts.size:
        return []
    columns = (starts[:, None] + np.arange(count)).ravel()
    cube = rows[:, columns].reshape(rows.shape[0], starts.size, count).transpose(1, 0, 2)
    raw = cube.tobytes()
    size = rows.shape[0] * count * rows.itemsize
    return [raw[offset : offset + size] for offset in range(0, len(raw), size)]


@lru_cache(maxsize=1024)
def _rows_of(mask: int) -> Array:
    """Return the indices in ``SCALARS`` of the scalars that a mask names."""
    return np.flatnonzero(mask & _BITS)


def encode_learning_rates(learning_rates: Sequence[tuple[float, ...] | None]) -> bytes | None:
    """Encode the learning rates of all parameter groups, record by record; None where no record has any."""
    if not any(learning_rates):
        return None
    counts = np.array([len(rates or ()) for rates in learning_rates], "<u2")
    return counts.tobytes() + np.array([rate for rates in learning_rates for rate in rates or ()], "<f8").tobytes()


def decode_learning_rates(data: bytes | None, record_count: int) -> list[tuple[float, ...] | None]:
    """Decode what ``encode_learning_rates`` returned. Raises ValueError for damaged bytes."""
    if data is None:
        return [None] * record_count
    if len(data) < 2 * record_count:
        raise UnreadableError
    ends = np.cumsum(np.frombuffer(data, "<u2", record_count)).tolist()
    values = np.frombuffer(data, "<f8", offset=2 * record_count).tolist()
    if len(values) != (ends[-1] if ends else 0):
        raise UnreadableError
    starts = [0, *ends[:-1]]
    return [tuple(values[start:end]) or None for start, end in zip(starts, ends, strict=True)]


StoredSegment: TypeAlias = tuple[int, bytes, bytes | None]
"""The columns of a segment's row that ``decode`` needs: ``record_count``, ``data`` and ``readings``. A plain tuple: an
overview of ten thousand layers reads ninety thousand, and to make a class of each costs as much as to decode them."""


def segments_of(rows: Sequence[Any]) -> list[StoredSegment]:
    """Return the segments of rows of a query that has ``record_count``, ``data`` and ``readings``."""
    if not rows:
        return []
    names = rows[0]._fields
    columns = (names.index(name) for name in ("record_count", "data", "readings"))
    return list(map(itemgetter(*columns), rows))  # a sixth of the cost of looking up names


def column_of(rows: Sequence[Any], name: str) -> list[Any]:
    """Return a column of rows of a query: a fifth of the cost of looking up its name in each of them."""
    return list(map(itemgetter(rows[0]._fields.index(name)), rows)) if rows else []


def decode(segments: Sequence[StoredSegment], statistics: Sequence[str]) -> dict[str, Array]:
    """Return statistics of all segments, one segment after the other; NaN where a statistic is missing."""
    ends = np.cumsum([record_count for record_count, _, _ in segments])
    total = int(ends[-1]) if ends.size else 0
    columns = {name: np.empty(total) for name in statistics}
    for indices, alike in _group_by_layout(segments, ends):
        decoded = _decode_alike(alike)
        for name, values in columns.items():
            values[indices] = decoded[name] if name in decoded else default(name)
    return columns


def default(name: str) -> float:
    """Return the value of a statistic that was not stored."""
    return float(DEFAULTS.get(name, np.nan))


def _group_by_layout(segments: Sequence[StoredSegment], ends: Array) -> Iterator[tuple[Array, list[StoredSegment]]]:
    """Yield segments of one layout together, with the indices of their records, to be decoded in one operation."""
    layouts = [(data[: _MASK.size], record_count, readings is None) for record_count, data, readings in segments]
    groups: dict[tuple[bytes, int, bool], list[int]] = {layout: [] for layout in layouts}
    for number, layout in enumerate(layouts):
        groups[layout].append(number)
    for (_, record_count, _), numbers in groups.items():
        starts = ends[numbers] - record_count
        yield (starts[:, None] + np.arange(record_count)).ravel(), [segments[number] for number in numbers]


def _decode_alike(segments: Sequence[StoredSegment]) -> Mapping[str, Array]:
    """Decode segments of one layout."""
    record_count, data, readings = segments[0]
    rows = _rows_of(_MASK.unpack_from(data)[0])
    scalars = np.frombuffer(b"".join([part[_MASK.size :] for _, part, _ in segments]), "<f8")
    scalars = scalars.reshape(len(segments), rows.size, record_count)
    decoded = {SCALARS[row]: scalars[:, index].ravel() for index, row in enumerate(rows.tolist())}
    if readings is not None:
        values = np.frombuffer(b"".join([part or b"" for _, _, part in segments]), "<f4")
        values = values.reshape(len(segments), len(READINGS), record_count)
        decoded |= {name: values[:, index].ravel() for index, name in enumerate(READINGS)}
    return decoded


class Summary(NamedTuple):
    """Minimum, maximum and last value of a statistic over some records; None where it is missing in all of them."""

    min: float | None
    max: float | None
    last: float | None


def latest_per_step(steps: Array) -> Array:
    """Return the indices of the records to show, ordered by step: of the records of one step, the last.

    ``steps`` are in the order of uploads, so a later upload replaces an earlier one.
    """
    order: Array = np.argsort(steps, kind="stable")
    last: Array = order[np.append(np.diff(steps[order]) > 0, True)[: order.size]]
    return last


def encode_chunk(name: str, values: Array, visible: Array) -> tuple[Summary, bytes | None] | None:
    """Encode a statistic of the records of a chunk: a summary of the ``visible`` ones, and the bytes of all.

    The bytes are None where every record has the same value, the result is None where no record has any.
    """
    measured = values[~np.isnan(values)]
    if not measured.size:
        return None
    summary = _summarize(values[visible])
    if measured.size == values.size and measured.min() == measured.max():
        return summary, None
    return summary, values.astype(_chunk_dtype(name)).tobytes()


def _summarize(values: Array) -> Summary:
    measured = values[~np.isnan(values)]
    if not measured.size:
        return Summary(None, None, None)
    return Summary(float(measured.min()), float(measured.max()), float(measured[-1]))


def decode_chunk(name: str, data: bytes | None, last: float | None, record_count: int) -> Array:
    """Decode what ``encode_chunk`` returned; ``last`` is that of the summary. Raises UnreadableError."""
    if data is None:
        return np.full(record_count, np.nan if last is None else last)
    if len(data) != np.dtype(_chunk_dtype(name)).itemsize * record_count:
        raise UnreadableError
    return np.frombuffer(data, _chunk_dtype(name)).astype(np.float64)


def _chunk_dtype(name: str) -> str:
    return "<f4" if name in READINGS else "<f8"
