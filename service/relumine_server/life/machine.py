"""The states of an alert as a table, and what a move does to everything that is known of its life.

``pending → firing → acknowledged → resolved``, and ``regressed`` when it returns. What is not in the table does not
happen: a refusal where a person asked for it, nothing where the detector said it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from relumine.views import SEVERITIES, AlertEvent, AlertState, Kind, Severity

Telling: TypeAlias = Literal["firing", "acknowledged", "resolved"]
"""What receivers can be told of an alert: the second half of a webhook's event."""
ClosedBy: TypeAlias = Literal["detector", "person", "run"]

PATIENT: frozenset[Kind] = frozenset({"no_data", "stalled"})
"""Kinds that may pass by themselves in a moment: they begin ``pending``."""
FIRING: frozenset[AlertState] = frozenset({"firing", "regressed"})
RESOLVED_BY: Mapping[AlertEvent, ClosedBy] = MappingProxyType(
    {"cleared": "detector", "closed": "person", "ended": "run"}
)


class Move(NamedTuple):
    """Where an event leads, and what receivers are to hear of it."""

    to: AlertState
    tells: Telling | None = None


_FIRES, _RETURNS = Move("firing", "firing"), Move("regressed", "firing")
_TAKEN, _OVER = Move("acknowledged", "acknowledged"), Move("resolved", "resolved")
_ENDS: dict[AlertEvent, Move] = {"cleared": _OVER, "closed": _OVER, "ended": _OVER}

TABLE: Mapping[AlertState | None, Mapping[AlertEvent, Move]] = MappingProxyType(
    {
        None: {
            "raised": _FIRES,
            "suspected": Move("pending"),
            "escalated": _FIRES,
            "changed": _FIRES,
        },
        "pending": {
            "raised": _FIRES,
            "suspected": Move("pending"),
            "escalated": _FIRES,
            "changed": Move("pending"),
            "ripened": _FIRES,
            "returned": _RETURNS,
            "acknowledged": _TAKEN,
            **_ENDS,
        },
        "firing": {
            "raised": Move("firing"),
            "suspected": Move("firing"),
            "escalated": _FIRES,
            "changed": Move("firing"),
            "acknowledged": _TAKEN,
            **_ENDS,
        },
        "regressed": {
            "raised": Move("regressed"),
            "suspected": Move("regressed"),
            "escalated": _RETURNS,
            "changed": Move("regressed"),
            "acknowledged": _TAKEN,
            **_ENDS,
        },
        "acknowledged": {
            "raised": Move("acknowledged"),
            "suspected": Move("acknowledged"),
            "escalated": _FIRES,  # it is worse than what somebody took on
            "changed": Move("acknowledged"),
            **_ENDS,
        },
        "resolved": {
            "raised": _RETURNS,
            "suspected": Move("pending"),
            "escalated": _RETURNS,
            "resumed": _RETURNS,
        },
    }
)


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known of an alert's life; what it is about is not part of it.

    ``told_at``: since when receivers take it for firing, None where they do not. ``owed``: it fires, or does so again
    for the worse, and they have not heard of that yet.
    """

    state: AlertState
    severity: Severity
    opened_step: int
    opened_at: datetime
    since_at: datetime
    resolved_step: int | None = None
    resolved_at: datetime | None = None
    resolved_reason: str | None = None
    closed_by: ClosedBy | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_note: str | None = None
    returns: int = 0
    moves: int = 0
    told_at: datetime | None = None
    owed: bool = False
    muted_by: str | None = None
    silenced_by: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not been resolved."""
        return self.state != "resolved"

    @property
    def is_quiet(self) -> bool:
        """Whether something keeps it from being told."""
        return self.muted_by is not None or self.silenced_by is not None


class Occurrence(NamedTuple):
    """Something that happens to an alert: ``note`` is the reason, or what a person says."""

    event: AlertEvent
    at: datetime
    step: int
    severity: Severity | None = None
    author: str | None = None
    note: str = ""


class Entry(NamedTuple):
    """A line of an alert's history."""

    number: int
    at: datetime
    step: int
    event: AlertEvent
    from_state: AlertState | None
    to_state: AlertState
    severity: Severity
    author: str | None
    note: str


class Moved(NamedTuple):
    """The life after an event; ``entry`` is None where it is no news."""

    life: Life
    entry: Entry | None
    tells: Telling | None


def event_of(kind: Kind, transition: str, severity: Severity, before: Life | None) -> AlertEvent:
    """What a finding means to an alert of that life."""
    if transition == "resolved":
        return "cleared"
    if before is not None and _is_worse(severity, before.severity) and (before.is_open or transition == "changed"):
        return "escalated"
    if transition == "raised":
        return "suspected" if kind in PATIENT else "raised"
    return "changed"


def _is_worse(severity: Severity, than: Severity) -> bool:
    return SEVERITIES.index(severity) > SEVERITIES.index(than)


def move(life: Life | None, now: Occurrence) -> Moved | None:
    """What becomes of an alert; None where the table knows no such move, and nothing changes."""
    step = TABLE[None if life is None else life.state].get(now.event)
    if step is None:
        return None
    if life is None:
        severity = now.severity or "warning"
        life = Life(step.to, severity, now.step, now.at, now.at, moves=1, owed=step.tells == "firing")
        return Moved(life, _entry(1, None, life, now), step.tells)
    after = _carried_over(life, step, now)
    is_news = after.state != life.state or now.event == "escalated"
    if not is_news:
        return Moved(after, None, step.tells)
    after = replace(after, moves=life.moves + 1)
    return Moved(after, _entry(after.moves, life.state, after, now), step.tells)


def _carried_over(life: Life, step: Move, now: Occurrence) -> Life:
    after = replace(life, state=step.to, severity=now.severity or life.severity)
    if step.to != life.state:
        after = replace(after, since_at=now.at)
    if step.to == "resolved":
        return replace(
            _unacknowledged(after),
            resolved_step=now.step,
            resolved_at=now.at,
            resolved_reason=_reason(now),
            closed_by=RESOLVED_BY[now.event],
            muted_by=None,
            silenced_by=None,
        )
    if life.state == "resolved":
        after = replace(after, resolved_step=None, resolved_at=None, resolved_reason=None, closed_by=None)
        after = replace(after, returns=life.returns + 1)
    if now.event == "escalated":
        after = _unacknowledged(after)
    if life.severity == "info" and after.severity != "info":  # what was merely shown becomes an alarm: it is new
        after = replace(after, opened_step=now.step, opened_at=now.at)
    if step.to == "acknowledged" and now.event == "acknowledged":
        after = replace(after, acknowledged_by=now.author, acknowledged_at=now.at, acknowledged_note=now.note)
        return replace(after, owed=False)
    return replace(after, owed=True) if step.tells == "firing" else after


def _unacknowledged(life: Life) -> Life:
    return replace(life, acknowledged_by=None, acknowledged_at=None, acknowledged_note=None)


def _reason(now: Occurrence) -> str | None:
    if now.author is None:
        return now.note or None
    return f"by {now.author}: {now.note}" if now.note else f"by {now.author}"


def _entry(number: int, before: AlertState | None, life: Life, now: Occurrence) -> Entry:
    return Entry(number, now.at, now.step, now.event, before, life.state, life.severity, now.author, now.note)
