"""Series as bytes: the scalars and readings of a layer's records, column after column. Pure.

A segment's blob is a mask of the statistics it holds, then each of them as float64. What every record has at its
default, and what none has, is left out. Readings are float32, all of them or none; NaN is one that was not taken.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, get_args

import numpy as np

from relumine.table import DEFAULTS, PLACE, RECORD_SCALARS, Array, RecordTable
from relumine.views import LayerState
from relumine_server.detection.findings import Reading

SCALARS = (*PLACE[1:], *RECORD_SCALARS)
READINGS = (*(f.name for f in fields(Reading) if f.name not in ("layer_id", "step", "state")), "state")
STATISTICS = (*SCALARS, *READINGS)
STATES = get_args(LayerState)

_BITS = 1 << np.arange(len(SCALARS), dtype=np.int64)
_DEFAULTS = np.array([DEFAULTS.get(name, np.nan) for name in SCALARS])
_MASK = struct.Struct("<I")
_CODES = {state: float(code) for code, state in enumerate(STATES)}
_measured = attrgetter(*READINGS[:-1])


class Segment(NamedTuple):
    """The records of one layer in one upload, as they are stored."""

    layer_id: int
    first_step: int
    last_step: int
    records: int
    columns: bytes
    rates: bytes | None
    readings: bytes | None


def encode(table: RecordTable, readings: Sequence[Reading]) -> list[Segment]:
    """The segments of an upload, one per layer. ``table`` and ``readings`` are in the order of a series."""
    if not len(table):
        return []
    layers = table.scalars["layer_id"]
    order = np.argsort(layers, kind="stable")
    bounds = np.flatnonzero(np.diff(layers[order], prepend=-1))
    counts = np.diff(bounds, append=order.size)
    matrix = np.empty((len(SCALARS), order.size))
    for row, name in enumerate(SCALARS):
        matrix[row] = table.scalars[name]
    if (np.diff(layers) < 0).any():
        matrix = matrix[:, order]
    told = (matrix == matrix) & (matrix != _DEFAULTS[:, None])  # noqa: PLR0124 - NaN differs from itself
    masks = np.bitwise_or.reduce(np.bitwise_or.reduceat(told * _BITS[:, None], bounds, axis=1), axis=0)
    return [
        Segment(*fields)
        for fields in zip(
            layers[order[bounds]].tolist(),
            np.minimum.reduceat(matrix[0], bounds).astype(np.int64).tolist(),
            np.maximum.reduceat(matrix[1], bounds).astype(np.int64).tolist(),
            counts.tolist(),
            _columns(matrix, masks, bounds, counts),
            _rates(table, order, bounds, counts),
            _taken(table, readings, order, bounds, counts),
            strict=True,
        )
    ]


def _columns(matrix: Array, masks: Array, bounds: Array, counts: Array) -> list[bytes]:
    """The blob of each segment: those of one layout at a stroke."""
    blobs: list[bytes] = [b""] * masks.size
    for mask, count in set(zip(masks.tolist(), counts.tolist(), strict=True)):
        places = np.flatnonzero((masks == mask) & (counts == count))
        parts = _cut(matrix[_rows(mask)], bounds[places], count)
        for place, part in zip(places.tolist(), parts, strict=True):
            blobs[place] = _MASK.pack(mask) + part
    return blobs


def _taken(
    table: RecordTable, readings: Sequence[Reading], order: Array, bounds: Array, counts: Array
) -> list[bytes | None]:
    """The readings of each segment; None for the run itself, and where none were taken."""
    taken: list[bytes | None] = [None] * bounds.size
    measured = _measurements(table, readings)
    if measured is None:
        return taken
    sorted_by_layer = measured[:, order].astype("<f4")
    of_layers = np.logical_or.reduceat(~np.isnan(sorted_by_layer[-1]), bounds)
    for count in set(counts.tolist()):
        places = np.flatnonzero((counts == count) & of_layers)
        for place, part in zip(places.tolist(), _cut(sorted_by_layer, bounds[places], count), strict=True):
            taken[place] = part
    return taken


def _cut(rows: Array, begins: Array, count: int) -> list[bytes]:
    """The bytes of ``rows[:, begin : begin + count]`` for each begin, row after row."""
    if not begins.size:
        return []
    columns = (begins[:, None] + np.arange(count)).ravel()
    cube = rows[:, columns].reshape(rows.shape[0], begins.size, count).transpose(1, 0, 2)
    raw, size = cube.tobytes(), rows.shape[0] * count * rows.itemsize
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _rates(table: RecordTable, order: Array, bounds: Array, counts: Array) -> list[bytes | None]:
    rates: list[bytes | None] = [None] * bounds.size
    told = np.array([own is not None for own in table.learning_rates])[order]
    for place in np.flatnonzero(np.logical_or.reduceat(told, bounds)).tolist():
        records = order[bounds[place] : bounds[place] + counts[place]].tolist()
        rates[place] = encode_rates([table.learning_rates[record] for record in records])
    return rates


@lru_cache(maxsize=1024)
def _rows(mask: int) -> Array:
    return np.flatnonzero(mask & _BITS)


def _measurements(table: RecordTable, readings: Sequence[Reading]) -> Array | None:
    """Readings beside their records: shape (readings, n), NaN where none was taken."""
    if not readings:
        return None
    values = np.array([(*_measured(reading), _CODES[reading.state]) for reading in readings], np.float64)
    places = np.flatnonzero(table.scalars["layer_id"])
    if places.size != len(readings):
        known = {(row.layer_id, row.step): row.place for row in table}
        places = np.array([known[reading.layer_id, reading.step] for reading in readings])
    whole = np.full((len(READINGS), len(table)), np.nan)
    whole[:, places] = values.T
    return whole


def encode_rates(rates: Sequence[tuple[float, ...] | None]) -> bytes | None:
    """The learning rates of all parameter groups, record by record; None where no record has any."""
    if not any(rates):
        return None
    counts = np.array([len(own or ()) for own in rates], "<u2")
    return counts.tobytes() + np.array([rate for own in rates for rate in own or ()], "<f8").tobytes()


def decode_rates(raw: bytes | None, records: int) -> list[tuple[float, ...] | None]:
    """What ``encode_rates`` wrote."""
    if raw is None:
        return [None] * records
    ends = np.cumsum(np.frombuffer(raw, "<u2", records)).tolist()
    values = np.frombuffer(raw, "<f8", offset=2 * records).tolist()
    begins = [0, *ends[:-1]]
    return [tuple(values[begin:end]) or None for begin, end in zip(begins, ends, strict=True)]


class Stored(NamedTuple):
    """A segment as it comes back: its columns and readings, and how many records they hold."""

    records: int
    columns: bytes
    readings: bytes | None


def decode(segments: Sequence[Stored], statistics: Iterable[str]) -> dict[str, Array]:
    """These statistics of all segments one after the other, NaN where there is none."""
    ends = np.cumsum([segment.records for segment in segments])
    whole = {name: np.empty(int(ends[-1]) if ends.size else 0) for name in statistics}
    for places, alike in _alike(segments, ends):
        decoded = _decode_alike(alike)
        for name, values in whole.items():
            values[places] = decoded[name] if name in decoded else default(name)
    return whole


def default(name: str) -> float:
    """What a statistic is where it was not stored."""
    return float(DEFAULTS.get(name, np.nan))


def _alike(segments: Sequence[Stored], ends: Array) -> Iterable[tuple[Array, list[Stored]]]:
    """Segments of one layout together: they are decoded at one stroke."""
    groups: dict[tuple[bytes, int, bool], list[int]] = {}
    for place, (records, columns, readings) in enumerate(segments):
        groups.setdefault((columns[:4], records, readings is None), []).append(place)
    for (_, records, _), places in groups.items():
        begins = ends[places] - records
        yield (begins[:, None] + np.arange(records)).ravel(), [segments[place] for place in places]


def _decode_alike(segments: Sequence[Stored]) -> Mapping[str, Array]:
    records, first, readings = segments[0]
    rows = _rows(_MASK.unpack(first[:4])[0])
    numbers = np.frombuffer(b"".join(one.columns[4:] for one in segments), "<f8")
    cube = numbers.reshape(len(segments), rows.size, records)
    decoded = {SCALARS[row]: cube[:, at].ravel() for at, row in enumerate(rows.tolist())}
    if readings is not None:
        taken = np.frombuffer(b"".join(one.readings or b"" for one in segments), "<f4")
        taken = taken.reshape(len(segments), len(READINGS), records)
        decoded |= {name: taken[:, at].ravel() for at, name in enumerate(READINGS)}
    return decoded


class Summary(NamedTuple):
    """Least, greatest and last of what is known of a statistic over some records; None where nothing is."""

    least: float | None
    greatest: float | None
    latest: float | None


def shown(steps: Array) -> Array:
    """The records that are shown, in the order of steps. ``steps`` come in the order of uploads: a later one wins."""
    order: Array = np.argsort(steps, kind="stable")
    last: Array = order[np.append(np.diff(steps[order]) > 0, True)[: order.size]]
    return last


def encode_chunk(name: str, values: Array, chosen: Array) -> tuple[Summary, bytes | None] | None:
    """A statistic over many records: the summary of the ``chosen``, and its bytes unless one number says it all.

    None: nothing known.
    """
    told = values[~np.isnan(values)]
    if not told.size:
        return None
    known = values[chosen]
    known = known[~np.isnan(known)]
    summary = Summary(float(known.min()), float(known.max()), float(known[-1])) if known.size else Summary(*[None] * 3)
    if told.size == values.size and told.min() == told.max():
        return summary, None
    return summary, values.astype("<f4" if name in READINGS else "<f8").tobytes()


def decode_chunk(name: str, data: bytes | None, latest: float | None, records: int) -> Array:
    """What ``encode_chunk`` wrote."""
    if data is None:
        return np.full(records, np.nan if latest is None else latest)
    return np.frombuffer(data, "<f4" if name in READINGS else "<f8").astype(np.float64)
