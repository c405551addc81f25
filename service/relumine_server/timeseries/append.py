"""Storage of what an upload adds to the series of its run: segments, logged metrics and per-unit statistics."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from relumine.schemas.upload import Upload
from relumine_server.detection.findings import Reading
from relumine_server.timeseries import codec, logged_metrics, segments, unit_stats
from relumine_server.timeseries.unit_stats import RowsWritten


def append_upload(
    connection: sa.Connection, upload: Upload, readings: Sequence[Reading], unit_stat_rows: int
) -> RowsWritten:
    """Store the records, readings and metrics of an upload; returns the rows of per-unit statistics written.

    ``unit_stat_rows`` is how many such rows the run had before.
    """
    encoded = codec.encode(upload.records, readings)
    if encoded:
        segments.insert(connection, (upload.run.id, upload.session, upload.rank, upload.seq), encoded)
    logged_metrics.append(connection, upload)
    return unit_stats.append(connection, upload, unit_stat_rows)
