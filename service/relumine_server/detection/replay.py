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


def opened(findings: Sequence[Finding]) -> dict[tuple[int, str], int]:
    """When each problem was first raised; one that was merely shown, when it became an alarm."""
    first: dict[tuple[int, str], int] = {}
    shown: set[tuple[int, str]] = set()
    for finding in findings:
        key = (finding.layer_id, finding.kind)
        if finding.transition == "resolved":
            continue
        if key not in first or (key in shown and finding.severity != "info"):
            first[key] = finding.step
        shown = shown | {key} if finding.severity == "info" else shown - {key}
    return first
