"""Alerts as they stand once a run is over, and the alarms in them.

An alert is one per layer and kind: it keeps the step it was opened at and says what was found last. The findings behind
it tell each time that something was raised, and what was found then. Where the two lead to other alarms, here is why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alarms import Alarm

from relumine.views import SEVERITIES, Alert, Kind, Severity
from relumine_server.detection.findings import Finding

BECAME_DEAD = "became dead"


@dataclass(frozen=True)
class Standing:
    """What an alert says in the end, as far as it is judged."""

    layer_id: int
    kind: Kind
    opened: int
    severity: Severity
    cause: str
    confidence: float
    resolved: int | None = None
    reason: str | None = None


def of_alerts(alerts: Iterable[Alert]) -> list[Standing]:
    """Alerts as the API gave them."""
    return _sorted(
        Standing(a.layer_id, a.kind, a.opened_step, a.severity, a.cause, a.confidence, a.resolved_step,
                 a.resolved_reason)
        for a in alerts
    )  # fmt: skip


def of_findings(findings: Sequence[Finding]) -> list[Standing]:
    """What the server's alerts must be after these findings; written apart from the server, to be held against it."""
    now: dict[tuple[int, Kind], Standing] = {}
    for found in findings:
        key = (found.layer_id, found.kind)
        before = now.get(key)
        if found.transition == "resolved":
            if before is not None:
                now[key] = replace(before, resolved=found.step, reason=found.reason)
            continue
        anew = before is None or (before.severity == "info" and _is_worse(found, before))
        opened = found.step if before is None or anew else before.opened
        now[key] = Standing(found.layer_id, found.kind, opened, found.severity, found.cause, found.confidence)
    return _sorted(now.values())


def alarms_in(standings: Sequence[Standing]) -> list[Alarm]:
    """The alarms, in the order they were opened. A dying that ended because its layer became dead goes on as that."""
    alarms: dict[tuple[int, str], Alarm] = {}
    for one in standings:
        closed = None if one.reason == BECAME_DEAD else one.resolved
        alarms[one.layer_id, one.kind] = Alarm(
            one.opened, one.layer_id, one.kind, one.severity == "info", one.cause, one.confidence, closed
        )
    for one in standings:
        dying, dead = alarms.get((one.layer_id, "dying")), alarms.get((one.layer_id, "dead"))
        if one.reason == BECAME_DEAD and dying and dead and not (dying.is_info or dead.is_info):
            dying.closed = dead.closed
            del alarms[one.layer_id, "dead"]
    return list(alarms.values())


def unlike(told: Sequence[Standing], due: Sequence[Standing]) -> list[str]:
    """Where the alerts that were told differ from those that were due, a line each."""
    lines = [f"told {one}" for one in told if one not in due]
    return lines + [f"due {one}" for one in due if one not in told]


def lost_words(findings: Sequence[Finding], standings: Sequence[Standing]) -> list[str]:
    """What the findings tell and the alerts do not in the end."""
    raised = Counter((f.layer_id, f.kind) for f in findings if f.transition == "raised")
    lines = []
    for one in standings:
        own = [f for f in findings if (f.layer_id, f.kind) == (one.layer_id, one.kind) and f.transition != "resolved"]
        alarming = [f for f in own if f.severity != "info"]
        first = alarming[0] if alarming else own[0]
        if raised[one.layer_id, one.kind] > 1:
            lines.append(f"{one.kind} of layer {one.layer_id} was raised {raised[one.layer_id, one.kind]} times")
        if alarming and one.severity == "info":
            lines.append(f"{one.kind} of layer {one.layer_id} was an alarm at step {first.step} and came back as info")
        if first.cause != one.cause:
            lines.append(f"{one.kind} of layer {one.layer_id} was first put down to {first.cause}, last to {one.cause}")
    return lines


def _is_worse(found: Finding, before: Standing) -> bool:
    return SEVERITIES.index(found.severity) > SEVERITIES.index(before.severity)


def _sorted(standings: Iterable[Standing]) -> list[Standing]:
    return sorted(standings, key=lambda one: (one.opened, one.layer_id, one.kind))
