"""What somebody was told, by our detector or by a published rule: one form for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relumine_server.detection.findings import Finding

DEATHS = frozenset({"dying", "dead", "born_dead", "constant_output"})


@dataclass
class Alarm:
    """An alert from when it was first raised until it was closed. ``layer_id`` 0 speaks of the run."""

    step: int
    layer_id: int
    kind: str = "dead"
    is_info: bool = False
    cause: str | None = None
    confidence: float | None = None
    closed: int | None = None


def alarms_of(findings: Sequence[Finding]) -> list[Alarm]:
    """The stream of findings as alarms: at the moment of each first raise, and of each rise out of ``info``.

    A dying that closes because its layer became dead goes on as that death.
    """
    alarms: list[Alarm] = []
    now: dict[tuple[int, str], Alarm] = {}
    for found in findings:
        key = (found.layer_id, found.kind)
        if found.transition == "resolved":
            _close(now, key, found)
        elif found.transition == "raised" or (key in now and now[key].is_info and found.severity != "info"):
            is_info = found.severity == "info"
            alarm = Alarm(found.step, found.layer_id, found.kind, is_info, found.cause, found.confidence)
            dying = now.get((found.layer_id, "dying"))
            if found.kind == "dead" and dying is not None and not dying.is_info and not alarm.is_info:
                alarm = dying  # the same story goes on
            else:
                alarms.append(alarm)
            now[key] = alarm
    return alarms


def _close(now: dict[tuple[int, str], Alarm], key: tuple[int, str], found: Finding) -> None:
    alarm = now.pop(key, None)
    if alarm is not None and alarm not in now.values() and found.reason != "became dead":
        alarm.closed = found.step
