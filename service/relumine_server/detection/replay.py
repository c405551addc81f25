"""The detector over a stored run: the readings and findings that a policy would have given."""

from __future__ import annotations

from collections.abc import Sequence

from relumine.schemas.record_table import Row
from relumine.schemas.upload import LayerInfo
from relumine_server.detection import detector, state
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.policy import Policy


def replay(layers: Sequence[LayerInfo], records: Sequence[Row], policy: Policy) -> tuple[list[Reading], list[Finding]]:
    """Return readings and findings of ``records``, in series order, from an empty state."""
    initial = state.describe(state.empty(), layers)
    _state, readings, findings = detector.advance(initial, records, policy)
    return readings, findings


def first_raised_steps(findings: Sequence[Finding]) -> dict[tuple[int, str], int]:
    """Return the step at which each problem was first raised, by layer id and kind.

    For a problem that was ``info`` first, it is the step at which it became a warning or critical.
    """
    steps: dict[tuple[int, str], int] = {}
    only_info: set[tuple[int, str]] = set()
    for finding in findings:
        key = (finding.layer_id, finding.kind)
        if finding.transition == "resolved":
            continue
        if key not in steps or (key in only_info and finding.severity != "info"):
            steps[key] = finding.step
        if finding.severity == "info":
            only_info.add(key)
        else:
            only_info.discard(key)
    return steps
