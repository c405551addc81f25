"""Rows of a run that cannot be read: left out, and logged once each by this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from cachetools import LRUCache

from relumine.schemas.record_table import Array
from relumine_server.timeseries import codec, layout, packing
from relumine_server.timeseries.codec import StoredSegment

MAX_REMEMBERED = 10_000  # rows; a process that meets more of them logs some twice

_log = structlog.get_logger(__name__)
_logged: LRUCache[tuple[str, str, tuple[Any, ...]], bool] = LRUCache(MAX_REMEMBERED)
_lock = threading.Lock()


def report(table: str, run_id: str, **position: Any) -> None:
    """Log that a row of a run cannot be read, unless it was logged before."""
    key = (table, run_id, tuple(position.values()))
    with _lock:
        is_new = key not in _logged
        _logged[key] = True
    if is_new:
        _log.error("a stored row cannot be read and is left out", table=table, run_id=run_id, **position)


def readable_segments(run_id: str, rows: Sequence[Any], **position: Any) -> list[Any]:
    """Return the rows of segments that can be decoded; report the others.

    Each row has ``seq``, ``record_count``, ``data`` and ``readings``; ``position`` is what else names it.
    """
    return list(decodable_segments(run_id, rows, **position).rows)


class DecodableSegments(NamedTuple):
    """Rows of segments, and what ``codec.decode`` needs of each."""

    rows: Sequence[Any]
    segments: list[StoredSegment]


def decodable_segments(run_id: str, rows: Sequence[Any], **position: Any) -> DecodableSegments:
    """Return what ``readable_segments`` returns, with the segments that were made of the rows to judge them."""
    segments = codec.segments_of(rows)
    if all(map(layout.is_readable, layout.distinct(segments))):
        return DecodableSegments(rows, segments)
    layouts = layout.layouts_of(segments)
    is_readable = {segment: layout.is_readable(segment) for segment in set(layouts)}
    readable = []
    for row, segment in zip(rows, layouts, strict=True):
        if is_readable[segment]:
            readable.append(row)
        else:
            layer_id = getattr(row, "layer_id", None)
            report("segments", run_id, **(position or {"layer_id": layer_id}), seq=row.seq)
    return DecodableSegments(readable, codec.segments_of(readable))


def learning_rates(
    run_id: str, data: bytes | None, record_count: int, **position: Any
) -> list[tuple[float, ...] | None]:
    """Return the learning rates of records; none of them, reported, where they cannot be read."""
    try:
        return codec.decode_learning_rates(data, record_count)
    except ValueError:
        report("learning rates", run_id, **position)
        return [None] * record_count


def chunk_columns(run_id: str, rows: Sequence[Any], **position: Any) -> dict[str, Array]:
    """Return the statistics of one chunk that can be decoded; none at all, reported, where its steps cannot.

    Each row has ``statistic``, ``record_count``, ``last`` and ``data``.
    """
    columns = {}
    for row in rows:
        try:
            columns[row.statistic] = codec.decode_chunk(row.statistic, row.data, row.last, row.record_count)
        except packing.UnreadableError:
            report("chunks", run_id, **position, statistic=row.statistic)
    return columns if layout.are_steps(columns.get("step")) else {}
