"""The lifecycle of an alert: a table of its states and events, and what each event changes. Pure.

``pending → firing → acknowledged → resolved``, and ``regressed`` when a resolved alert returns. An alert that holds
when its run ends is ``ended``, which is no recovery. An event that the table does not list for a state changes nothing;
where a person asked for it, the caller refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from relumine.schemas.alert import AlertEventName, AlertState, Kind, Severity, severity_rank
from relumine_server.alerts.status import AlertEvent, AlertLogEntry, AlertStatus, first_status, log_entry, next_status

NotificationKind: TypeAlias = Literal["firing", "acknowledged", "resolved", "expired"]
"""The notifications about an alert. ``expired``: its run ended so long ago that an Alertmanager lets go of it."""
FinalStatus: TypeAlias = Literal["finished", "failed"]
"""The status of a run that has ended."""

ENDED_RUN_STATUSES: frozenset[FinalStatus] = frozenset({"finished", "failed"})
KINDS_WITH_PENDING: frozenset[Kind] = frozenset({"no_data", "stalled"})
"""Kinds that may pass by themselves within minutes: they begin ``pending``."""
FIRING_STATES: frozenset[AlertState] = frozenset({"firing", "regressed"})


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
    "run_ended": Transition("ended"),
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
            "cleared": Transition("resolved"),  # a person closed it, and the problem has passed since
        },
        "ended": {
            "raised": _FIRES,
            "pending": Transition("pending"),
            "escalated": _FIRES,
            "run_resumed": _FIRES,
            "resumed_acknowledged": Transition("acknowledged"),
            "cleared": _RESOLVES,
            "resolved_by_user": _RESOLVES,
        },
    }
)
"""The transition for each state and event; the state None is an alert that was never raised."""


class TransitionResult(NamedTuple):
    """The status after an event; ``log_entry`` is None where the history has nothing new."""

    status: AlertStatus
    log_entry: AlertLogEntry | None
    notification: NotificationKind | None


def event_for_finding(
    kind: Kind, transition: str, severity: Severity, status: AlertStatus | None, previous_kind: Kind | None = None
) -> AlertEventName:
    """Return the event that a finding is to an alert of this status; ``transition`` is the finding's.

    ``previous_kind`` is the kind of the alert so far: a layer that was dying and is dead now is worse than it was.
    """
    if transition == "resolved":
        return "cleared"
    if status is not None and _escalates(status, transition, severity):
        return "escalated"
    if status is not None and status.is_open and (previous_kind, kind) == ("dying", "dead"):
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
        updated = first_status(rule.to_state, event, is_notified=rule.notification == "firing")
        return TransitionResult(updated, log_entry(None, updated, event), rule.notification)
    updated = next_status(status, rule.to_state, event, is_notified=rule.notification == "firing")
    if updated.state == status.state and event.name != "escalated":
        return TransitionResult(updated, None, rule.notification)
    updated = replace(updated, event_count=status.event_count + 1)
    return TransitionResult(updated, log_entry(from_state, updated, event), rule.notification)
