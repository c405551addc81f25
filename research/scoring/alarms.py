"""Alarms of our detector and of published rules in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relumine_server.detection.findings import Finding

DEATHS = frozenset({"dying", "dead", "born_dead", "constant_output"})


@dataclass
class Alarm:
    """An alert from its first raise until it was resolved. ``layer_id`` 0 is the run."""

    step: int
    layer_id: int
    kind: str = "dead"
    is_info: bool = False
    cause: str | None = None
    confidence: float | None = None
    resolved: int | None = None


def alarms_of(findings: Sequence[Finding]) -> list[Alarm]:
    """Return findings as alarms: one for each first raise, and one for each rise of severity out of ``info``.

    A ``dying`` whose layer is dead continues as that death.
    """
    alarms: list[Alarm] = []
    active: dict[tuple[int, str], Alarm] = {}
    for finding in findings:
        key = (finding.layer_id, finding.kind)
        if finding.transition == "resolved":
            _resolve(active, key, finding)
            continue
        rises = key in active and active[key].is_info and finding.severity != "info"
        if finding.transition != "raised" and not rises:
            continue
        alarm = _alarm(finding)
        dying = active.pop((finding.layer_id, "dying"), None) if finding.kind == "dead" else None
        if dying is not None and not dying.is_info:
            alarm = dying
        else:
            alarms.append(alarm)
        active[key] = alarm
    return alarms


def _alarm(finding: Finding) -> Alarm:
    return Alarm(
        step=finding.step,
        layer_id=finding.layer_id,
        kind=finding.kind,
        is_info=finding.severity == "info",
        cause=finding.cause,
        confidence=finding.confidence,
    )


def _resolve(active: dict[tuple[int, str], Alarm], key: tuple[int, str], finding: Finding) -> None:
    alarm = active.pop(key, None)
    if alarm is not None:
        alarm.resolved = finding.step
