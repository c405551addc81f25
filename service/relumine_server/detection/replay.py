"""The detector over a stored run: what it would have said, under any policy."""

from __future__ import annotations

from collections.abc import Sequence

from relumine.table import Row
from relumine.wire import LayerInfo
from relumine_server.detection import onset, state
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.policy import Policy


def replay(layers: Sequence[LayerInfo], records: Sequence[Row], policy: Policy) -> tuple[list[Reading], list[Finding]]:
    """Readings and findings of ``records``, in series order, from an empty state."""
    start = state.describe(state.empty(), layers)
    _state, readings, findings = onset.advance(start, records, policy)
    return readings, findings
