"""The status of an alert and what an event changes in it. Pure; which state an event leads to is in ``lifecycle``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from relumine.schemas.alert import OPEN_STATES, AlertEventName, AlertState, Kind, Severity

ResolvedBy: TypeAlias = Literal["detector", "person"]
RESOLVED_BY: Mapping[AlertEventName, ResolvedBy] = MappingProxyType(
    {"cleared": "detector", "resolved_by_user": "person"}
)
DEAD_KINDS: frozenset[Kind] = frozenset({"dead", "born_dead"})


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """The state of an alert with everything that its events decide; its subject and content are not part of it.

    ``firing_notified_at``: since when receivers consider it firing, None where they do not. ``notification_due``: it
    began to fire, or escalated, and no notification of that was sent yet. ``died_at``: when the alert last came to say
    that its layer is dead or born dead; it stays after a recovery.
    """

    state: AlertState
    severity: Severity
    opened_step: int
    opened_at: datetime
    state_changed_at: datetime
    dead_step: int | None = None
    died_at: datetime | None = None
    ended_step: int | None = None
    ended_at: datetime | None = None
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
        """True until the alert is resolved, or its run ends."""
        return self.state in OPEN_STATES

    @property
    def is_suppressed(self) -> bool:
        """True while another alert or a silence holds its notifications back."""
        return self.inhibited_by is not None or self.silenced_by is not None


class AlertEvent(NamedTuple):
    """An event of an alert; ``note`` is the reason, or a person's remark. ``kind`` is that of a finding."""

    name: AlertEventName
    occurred_at: datetime
    step: int
    severity: Severity | None = None
    author: str | None = None
    note: str = ""
    kind: Kind | None = None


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


def first_status(to_state: AlertState, event: AlertEvent, *, is_notified: bool) -> AlertStatus:
    """Return the status of an alert that was never raised before."""
    return AlertStatus(
        state=to_state,
        severity=event.severity or "warning",
        opened_step=event.step,
        opened_at=event.occurred_at,
        state_changed_at=event.occurred_at,
        event_count=1,
        dead_step=event.step if event.kind == "dead" else None,
        died_at=event.occurred_at if event.kind in DEAD_KINDS else None,
        notification_due=is_notified,
    )


def next_status(status: AlertStatus, to_state: AlertState, event: AlertEvent, *, is_notified: bool) -> AlertStatus:
    """Return the status after an event that leads to ``to_state``; ``is_notified``: receivers learn that it fires."""
    updated = replace(status, state=to_state, severity=event.severity or status.severity)
    if to_state != status.state:
        updated = replace(updated, state_changed_at=event.occurred_at)
    if to_state == "resolved":
        return _resolve(updated, event)
    if to_state == "ended":
        return replace(updated, ended_step=event.step, ended_at=event.occurred_at, silenced_by=None)
    updated = _go_on(status, updated, event)
    if status.severity == "info" and updated.severity != "info":
        # An alert of severity info is only displayed; as a warning it becomes an alarm, and is as old as the alarm.
        updated = replace(updated, opened_step=event.step, opened_at=event.occurred_at)
    if event.name == "acknowledged":
        return _acknowledge(updated, event)
    if is_notified:
        updated = replace(updated, notification_due=True)
    return updated


def _go_on(status: AlertStatus, updated: AlertStatus, event: AlertEvent) -> AlertStatus:
    """Return the status of an alert that is open after an event, whatever it was until then."""
    if event.kind is not None:
        updated = replace(updated, dead_step=_dead_step(status, event), died_at=_died_at(status, event))
    if status.state == "resolved":
        updated = _reopen(updated)
    if updated.state != "acknowledged":
        updated = _clear_acknowledgement(updated)
    return replace(updated, ended_step=None, ended_at=None)


def _dead_step(status: AlertStatus, event: AlertEvent) -> int | None:
    """Return the step at which the layer was dead, or None where it is not, or not any more."""
    if event.kind != "dead":
        return None
    if status.is_open and status.dead_step is not None:
        return status.dead_step
    return event.step


def _died_at(status: AlertStatus, event: AlertEvent) -> datetime | None:
    """Return when the layer last came to be dead or born dead; None where it never was."""
    if event.kind not in DEAD_KINDS:
        return status.died_at
    is_dead = event.kind == "born_dead" or status.dead_step is not None
    if status.is_open and is_dead and status.died_at is not None:
        return status.died_at
    return event.occurred_at


def _resolve(status: AlertStatus, event: AlertEvent) -> AlertStatus:
    return replace(
        _clear_acknowledgement(status),
        resolved_step=event.step,
        resolved_at=event.occurred_at,
        resolved_reason=_resolved_reason(event),
        resolved_by=RESOLVED_BY[event.name],
        ended_step=None,
        ended_at=None,
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


def log_entry(from_state: AlertState | None, updated: AlertStatus, event: AlertEvent) -> AlertLogEntry:
    """Return the row of the history for an event that led to a status."""
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
