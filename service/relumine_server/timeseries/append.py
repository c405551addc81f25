"""Storage of what an upload adds to the series of its run: segments, logged metrics and per-unit statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Upload
from relumine_server.detection.findings import Reading
from relumine_server.timeseries import codec, logged_metrics, segments, unit_stats
from relumine_server.timeseries.codec import Segment
from relumine_server.timeseries.unit_stats import EncodedStep, RowsWritten


class EncodedRecords(NamedTuple):
    """Records as they are stored: a segment per layer, and the per-unit columns of each step."""

    segments: Sequence[Segment]
    steps: Sequence[EncodedStep]


def encode(
    records: RecordTable, readings: Sequence[Reading], pause: Callable[[], None] | None = None
) -> EncodedRecords:
    """Return the records of an upload, with the readings that the detector made of them, as they are stored.

    ``pause`` is called after each step.
    """
    segments_by_layer = codec.encode(records, readings)
    steps = []
    for step in unit_stats.encode_steps(records):
        steps.append(step)
        if pause is not None:
            pause()
    return EncodedRecords(segments_by_layer, steps)


def append_upload(
    connection: sa.Connection, upload: Upload, encoded: EncodedRecords, unit_stat_rows: int
) -> RowsWritten:
    """Store the records and metrics of an upload; returns the rows of per-unit statistics written.

    ``unit_stat_rows`` is how many such rows the run had before.
    """
    key = (upload.run.id, upload.session, upload.rank, upload.seq)
    if encoded.segments:
        segments.insert(connection, key, encoded.segments)
    logged_metrics.append(connection, upload)
    return unit_stats.append(connection, key, encoded.steps, unit_stat_rows)
