"""Records in chunks that make uploads of about one size. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relumine.schemas.record_table import RecordTable


def chunks_of(records: RecordTable, max_bytes: int) -> Iterator[RecordTable]:
    """Yield the records in chunks of about ``max_bytes``; at least one chunk."""
    if not len(records):
        yield records
        return
    column_counts = np.array([int(bits).bit_count() for bits in records.present])
    sizes = 100 + 5 * column_counts * records.units
    chunk_numbers = np.cumsum(sizes) // max_bytes
    for number in np.unique(chunk_numbers):
        yield records.take(np.flatnonzero(chunk_numbers == number))
