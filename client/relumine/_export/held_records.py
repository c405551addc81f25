"""Records and logged metrics that wait for the next upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relumine._export.layer_record import LayerRecord
from relumine.schemas.record_table import RecordTable


@dataclass(slots=True)
class HeldRecords:
    """Records and metrics in the order in which they were made, and the estimated bytes of the records."""

    records: list[LayerRecord] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    nbytes: int = 0

    def table(self) -> RecordTable:
        """Return the records by step, then layer."""
        scalars = [record.scalars for record in self.records]
        columns = [record.columns for record in self.records]
        return RecordTable.from_values(scalars, columns).sorted_by_step()
