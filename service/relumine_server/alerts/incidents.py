"""Incidents: which alerts of a run belong together, and when receivers are notified of them. Pure.

The alerts of a run that have one cause and whose onsets lie together are one incident. A receiver is notified of an
incident once, and again where it gets worse: a higher severity, the first dead layer, an output that is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from relumine.schemas.alert import Cause, Kind, Severity, severity_rank
from relumine.schemas.incident import IncidentState, Stage, stage
from relumine_server.alerts.lifecycle import FIRING_STATES
from relumine_server.alerts.status import AlertStatus

ONSET_WINDOW_STEPS = 500
"""Steps between the onsets of an incident's alerts: five times the longest gap between two sampled steps."""
_OWN_TOPICS: frozenset[Kind] = frozenset({"no_data", "stalled"})
"""Kinds that say nothing about units: they never belong to an incident of another kind."""


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident as it is stored. ``last_onset_step`` is the latest onset of its alerts."""

    incident_id: str
    cause: Cause
    topic: str
    state: IncidentState
    severity: Severity
    opened_step: int
    last_onset_step: int


class Onset(NamedTuple):
    """The beginning of an alert; ``upstream_incidents`` are the incidents of the layers that it is starved by."""

    kind: Kind
    cause: Cause
    step: int
    upstream_incidents: Sequence[str] = ()


class Member(NamedTuple):
    """An alert of an incident."""

    alert_id: str
    kind: Kind
    status: AlertStatus
    fired_now: bool = False
    is_repeat_due: bool = False


def topic_of(kind: Kind) -> str:
    """Return what an alert is about: missing data, a stall, or units."""
    return kind if kind in _OWN_TOPICS else "units"


def find_incident(onset: Onset, open_incidents: Iterable[IncidentRow]) -> IncidentRow | None:
    """Return the open incident that an alert belongs to, the latest of several; None where it begins a new one."""
    candidates = [row for row in open_incidents if row.topic == topic_of(onset.kind)]
    for row in reversed(candidates):
        if row.incident_id in onset.upstream_incidents:
            return row
    for row in reversed(candidates):
        if _lies_together(onset, row) and _has_same_cause(onset.cause, row.cause):
            return row
    return None


def _lies_together(onset: Onset, row: IncidentRow) -> bool:
    return row.opened_step - ONSET_WINDOW_STEPS <= onset.step <= row.last_onset_step + ONSET_WINDOW_STEPS


def _has_same_cause(cause: Cause, other: Cause) -> bool:
    """Return whether two causes may be one: an unknown cause, or a collapse upstream, contradicts no other."""
    is_open_question = {cause, other} & {"unknown", "upstream_collapse"}
    return cause == other or bool(is_open_question)


def new_incident(incident_id: str, onset: Onset, severity: Severity) -> IncidentRow:
    """Return the incident that begins with an alert."""
    return IncidentRow(
        incident_id=incident_id,
        cause=onset.cause,
        topic=topic_of(onset.kind),
        state="open",
        severity=severity,
        opened_step=onset.step,
        last_onset_step=onset.step,
    )


def with_alert(row: IncidentRow, onset: Onset) -> IncidentRow:
    """Return an incident with one more alert. The first cause that is known is that of the incident."""
    cause = onset.cause if row.cause == "unknown" else row.cause
    return replace(
        row,
        cause=cause,
        opened_step=min(row.opened_step, onset.step),
        last_onset_step=max(row.last_onset_step, onset.step),
    )


def with_members(row: IncidentRow, members: Sequence[Member]) -> IncidentRow:
    """Return an incident with the state and severity that its alerts give it."""
    states = {member.status.state for member in members}
    state: IncidentState = "resolved"
    if any(member.status.is_open for member in members):
        state = "open"
    elif "ended" in states:
        state = "ended"
    holding = [member for member in members if member.status.is_open or member.status.state == "ended"]
    severities = [member.status.severity for member in holding or members]
    return replace(row, state=state, severity=max(severities, key=severity_rank, default=row.severity))


def notified_members(members: Sequence[Member]) -> set[str]:
    """Return the ids of the firing alerts of an incident that receivers are notified of now; none where none is due."""
    firing = [member for member in members if is_firing(member) and not member.status.is_suppressed]
    due = [member for member in firing if member.status.notification_due or member.status.firing_notified_at is None]
    due_ids = {member.alert_id for member in due}
    notified = [member for member in members if member.alert_id not in due_ids and _is_notified(member)]
    is_worse = bool(due) and max(map(_stage, due)) > max(map(_stage, notified), default=(-1, 0))
    has_returned = any(member.status.state == "regressed" for member in due)
    is_repeat_due = any(member.is_repeat_due for member in firing)
    if not (is_worse or has_returned or is_repeat_due):
        return set()
    # An alert of severity info is listed once: it needs no reminder.
    return due_ids | {member.alert_id for member in firing if member.status.severity != "info"}


def is_firing(member: Member) -> bool:
    """Return True for an alert that fires, or that began to fire in the transaction in which its run ended."""
    """Return True for an alert that fires, or that began to fire in the transaction in which its run ended."""
    return member.status.state in FIRING_STATES or (member.status.state == "ended" and member.fired_now)


def _is_notified(member: Member) -> bool:
    return member.status.is_open and member.status.firing_notified_at is not None


def _stage(member: Member) -> Stage:
    return stage(member.kind, member.status.severity)
