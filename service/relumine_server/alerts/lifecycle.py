"""The lifecycle of an alert: a table of its states and events, and what each event changes. Pure.

``pending → firing → acknowledged → resolved``, and ``regressed`` when a resolved alert returns. An event that the table
does not list for a state changes nothing; where a person asked for it, the caller refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from relumine.schemas.alert import OPEN_STATES, AlertEventName, AlertState, Kind, Severity, severity_rank

NotificationKind: TypeAlias = Literal["firing", "acknowledged", "resolved"]
"""The notifications about an alert: the second half of a webhook's event, ``alert.firing``."""
ResolvedBy: TypeAlias = Literal["detector", "person", "run"]
FinalStatus: TypeAlias = Literal["finished", "failed"]
"""The status of a run that has ended."""

ENDED_RUN_STATUSES: frozenset[FinalStatus] = frozenset({"finished", "failed"})
KINDS_WITH_PENDING: frozenset[Kind] = frozenset({"no_data", "stalled"})
"""Kinds that may pass by themselves within minutes: they begin ``pending``."""
FIRING_STATES: frozenset[AlertState] = frozenset({"firing", "regressed"})
RESOLVED_BY: Mapping[AlertEventName, ResolvedBy] = MappingProxyType(
    {"cleared": "detector", "resolved_by_user": "person", "run_ended": "run"}
)


class Transition(NamedTuple):
    """The state that an event leads to, and the notification it calls for."""

    to_state: AlertState
    notification: NotificationKind | None = None


_FIRES = Transition("firing", "firing")
_REGRESSES = Transition("regressed", "firing")
_ACKNOWLEDGES = Transition("acknowledged", "acknowledged")
_RESOLVES = Transition("resolved", "resolved")
_ENDINGS: dict[AlertEventName, Transition] = {
    "cleared": _RESOLVES,
    "resolved_by_user": _RESOLVES,
    "run_ended": _RESOLVES,
}

TRANSITIONS: Mapping[AlertState | None, Mapping[AlertEventName, Transition]] = MappingProxyType(
    {
        None: {
            "raised": _FIRES,
            "pending": Transition("pending"),
            "escalated": _FIRES,
            "updated": _FIRES,
        },
        "pending": {
            "raised": _FIRES,
            "pending": Transition("pending"),
            "escalated": _FIRES,
            "updated": Transition("pending"),
            "confirmed": _FIRES,
            "regressed": _REGRESSES,
            "acknowledged": _ACKNOWLEDGES,
            **_ENDINGS,
        },
        "firing": {
            "raised": Transition("firing"),
            "pending": Transition("firing"),
            "escalated": _FIRES,
            "updated": Transition("firing"),
            "acknowledged": _ACKNOWLEDGES,
            **_ENDINGS,
        },
        "regressed": {
            "raised": Transition("regressed"),
            "pending": Transition("regressed"),
            "escalated": _REGRESSES,
            "updated": Transition("regressed"),
            "acknowledged": _ACKNOWLEDGES,
            **_ENDINGS,
        },
        "acknowledged": {
            "raised": Transition("acknowledged"),
            "pending": Transition("acknowledged"),
            "escalated": _FIRES,  # it is worse than what was acknowledged
            "updated": Transition("acknowledged"),
            **_ENDINGS,
        },
        "resolved": {
            "raised": _REGRESSES,
            "pending": Transition("pending"),
            "escalated": _REGRESSES,
            "run_resumed": _REGRESSES,
        },
    }
)
"""The transition for each state and event; the state None is an alert that was never raised."""


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """The state of an alert with everything that its events decide; its subject and content are not part of it.

    ``firing_notified_at``: since when receivers consider it firing, None where they do not. ``notification_due``: it
    began to fire, or escalated, and no notification of that was sent yet.
    """

    state: AlertState
    severity: Severity
    opened_step: int
    opened_at: datetime
    state_changed_at: datetime
    resolved_step: int | None = None
    resolved_at: datetime | None = None
    resolved_reason: str | None = None
    resolved_by: ResolvedBy | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_note: str | None = None
    regression_count: int = 0
    event_count: int = 0
    firing_notified_at: datetime | None = None
    notification_due: bool = False
    inhibited_by: str | None = None
    silenced_by: str | None = None

    @property
    def is_open(self) -> bool:
        """True until the alert is resolved."""
        return self.state in OPEN_STATES

    @property
    def is_suppressed(self) -> bool:
        """True while another alert or a silence holds its notifications back."""
        return self.inhibited_by is not None or self.silenced_by is not None


class AlertEvent(NamedTuple):
    """An event of an alert; ``note`` is the reason, or a person's remark."""

    name: AlertEventName
    occurred_at: datetime
    step: int
    severity: Severity | None = None
    author: str | None = None
    note: str = ""


class AlertLogEntry(NamedTuple):
    """One row of an alert's history, in the columns of ``alert_events``."""

    event_number: int
    occurred_at: datetime
    step: int
    event: AlertEventName
    from_state: AlertState | None
    to_state: AlertState
    severity: Severity
    author: str | None
    note: str


class TransitionResult(NamedTuple):
    """The status after an event; ``log_entry`` is None where the history has nothing new."""

    status: AlertStatus
    log_entry: AlertLogEntry | None
    notification: NotificationKind | None


def event_for_finding(kind: Kind, transition: str, severity: Severity, status: AlertStatus | None) -> AlertEventName:
    """Return the event that a finding is to an alert of this status; ``transition`` is the finding's."""
    if transition == "resolved":
        return "cleared"
    if status is not None and _escalates(status, transition, severity):
        return "escalated"
    if transition == "raised":
        return "pending" if kind in KINDS_WITH_PENDING else "raised"
    return "updated"


def _escalates(status: AlertStatus, transition: str, severity: Severity) -> bool:
    """Return True for a worse severity; an alert that is raised again after its end regresses instead."""
    is_worse = severity_rank(severity) > severity_rank(status.severity)
    return is_worse and (status.is_open or transition == "changed")


def transition(status: AlertStatus | None, event: AlertEvent) -> TransitionResult | None:
    """Return the alert's status after an event; None where the table has no such transition and nothing changes."""
    from_state = None if status is None else status.state
    rule = TRANSITIONS[from_state].get(event.name)
    if rule is None:
        return None
    if status is None:
        updated = _first_status(rule, event)
        return TransitionResult(updated, _log_entry(None, updated, event), rule.notification)
    updated = _next_status(status, rule, event)
    if updated.state == status.state and event.name != "escalated":
        return TransitionResult(updated, None, rule.notification)
    updated = replace(updated, event_count=status.event_count + 1)
    return TransitionResult(updated, _log_entry(from_state, updated, event), rule.notification)


def _first_status(rule: Transition, event: AlertEvent) -> AlertStatus:
    return AlertStatus(
        state=rule.to_state,
        severity=event.severity or "warning",
        opened_step=event.step,
        opened_at=event.occurred_at,
        state_changed_at=event.occurred_at,
        event_count=1,
        notification_due=rule.notification == "firing",
    )


def _next_status(status: AlertStatus, rule: Transition, event: AlertEvent) -> AlertStatus:
    updated = replace(status, state=rule.to_state, severity=event.severity or status.severity)
    if rule.to_state != status.state:
        updated = replace(updated, state_changed_at=event.occurred_at)
    if rule.to_state == "resolved":
        return _resolve(updated, event)
    if status.state == "resolved":
        updated = _reopen(updated)
    if event.name == "escalated":
        updated = _clear_acknowledgement(updated)
    if status.severity == "info" and updated.severity != "info":
        # An alert of severity info is only displayed; as a warning it becomes an alarm, and is as old as the alarm.
        updated = replace(updated, opened_step=event.step, opened_at=event.occurred_at)
    if event.name == "acknowledged":
        return _acknowledge(updated, event)
    if rule.notification == "firing":
        updated = replace(updated, notification_due=True)
    return updated


def _resolve(status: AlertStatus, event: AlertEvent) -> AlertStatus:
    return replace(
        _clear_acknowledgement(status),
        resolved_step=event.step,
        resolved_at=event.occurred_at,
        resolved_reason=_resolved_reason(event),
        resolved_by=RESOLVED_BY[event.name],
        inhibited_by=None,
        silenced_by=None,
    )


def _reopen(status: AlertStatus) -> AlertStatus:
    return replace(
        status,
        resolved_step=None,
        resolved_at=None,
        resolved_reason=None,
        resolved_by=None,
        regression_count=status.regression_count + 1,
    )


def _acknowledge(status: AlertStatus, event: AlertEvent) -> AlertStatus:
    return replace(
        status,
        acknowledged_by=event.author,
        acknowledged_at=event.occurred_at,
        acknowledged_note=event.note,
        notification_due=False,
    )


def _clear_acknowledgement(status: AlertStatus) -> AlertStatus:
    return replace(status, acknowledged_by=None, acknowledged_at=None, acknowledged_note=None)


def _resolved_reason(event: AlertEvent) -> str | None:
    if event.author is None:
        return event.note or None
    if event.note:
        return f"by {event.author}: {event.note}"
    return f"by {event.author}"


def _log_entry(from_state: AlertState | None, updated: AlertStatus, event: AlertEvent) -> AlertLogEntry:
    return AlertLogEntry(
        event_number=updated.event_count,
        occurred_at=event.occurred_at,
        step=event.step,
        event=event.name,
        from_state=from_state,
        to_state=updated.state,
        severity=updated.severity,
        author=event.author,
        note=event.note,
    )
