"""The layout of a stored segment, which tells whether ``codec.decode`` can decode it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record_table import Array
from relumine_server.timeseries.codec import READINGS, SCALARS

_MASK = struct.Struct("<I")
_NEEDED = (1 << SCALARS.index("first_step")) | (1 << SCALARS.index("step"))
"""Bits of the scalars that every segment holds."""
_SCALAR_BYTES = 8
_READING_BYTES = 4


class Layout(NamedTuple):
    """The start of the data of a segment, and sizes."""

    mask: bytes
    record_count: int
    data_bytes: int
    reading_bytes: int | None


def distinct(segments: Sequence[tuple[int, bytes, bytes | None]]) -> list[Layout]:
    """Return the layouts that segments have, each once: a fifth of the cost of the layout of each segment."""
    if not segments:
        return []
    counts, data, readings = zip(*segments, strict=True)
    masks = map(itemgetter(slice(_MASK.size)), data)
    reading_bytes = [None if values is None else len(values) for values in readings]
    return list(map(Layout._make, set(zip(masks, counts, map(len, data), reading_bytes, strict=True))))


def layouts_of(segments: Iterable[tuple[int, bytes, bytes | None]]) -> list[Layout]:
    """Return the layout of each segment, of its record count, data and readings. Most segments of a run share one."""
    shared: dict[tuple[bytes, int, int, int | None], Layout] = {}
    layouts = []
    for record_count, data, readings in segments:
        key = (data[: _MASK.size], record_count, len(data), None if readings is None else len(readings))
        layout = shared.get(key)
        if layout is None:
            layout = shared[key] = Layout(*key)
        layouts.append(layout)
    return layouts


def is_readable(segment: Layout) -> bool:
    """Return True if ``decode`` can decode segments of this layout: their bytes have the size that it says."""
    if len(segment.mask) < _MASK.size or segment.record_count < 1:
        return False
    (mask,) = _MASK.unpack(segment.mask)
    if mask & _NEEDED != _NEEDED or mask >> len(SCALARS):
        return False
    if segment.reading_bytes not in {None, _READING_BYTES * len(READINGS) * segment.record_count}:
        return False
    return bool(segment.data_bytes == _MASK.size + _SCALAR_BYTES * mask.bit_count() * segment.record_count)


def are_steps(values: Array | None) -> bool:
    """Return True for numbers that can be the steps of records."""
    return values is not None and bool(((values >= 0) & (values <= MAX_STEP)).all())
