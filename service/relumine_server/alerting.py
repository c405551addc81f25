"""What moves the alerts of a run: findings, people, the clock, and the run's end. Whoever moves them locks the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

import sqlalchemy as sa

from relumine_server.alert_book import Book
from relumine_server.detection import wording
from relumine_server.detection.findings import Finding
from relumine_server.errors import AlertAcknowledged, AlertNotFound, AlertResolved, RunNotFound
from relumine_server.life import stalls
from relumine_server.life.machine import PATIENT, Occurrence, event_of
from relumine_server.life.stalls import Pulse
from relumine_server.storage import alerts, runs
from relumine_server.storage.lives import Tracked

Outcome: TypeAlias = Literal["finished", "failed"]
ENDED = frozenset({"finished", "failed"})
AGAIN = "it reports again"


class Pace(NamedTuple):
    """How patient the clock is."""

    stalled_after: timedelta
    grace: timedelta
    repeat_after: timedelta


class Passage(NamedTuple):
    """What an upload says of its run beside its records: the last step known with it, and whether it begins or ends.

    ``resumes``: a new session of a run that had ended; ``heard``: it is the run's latest sign of life.
    """

    step: int
    resumes: bool = False
    heard: bool = False
    closing: Outcome | None = None


def record(
    connection: sa.Connection, run: sa.Row[Any], findings: Sequence[Finding], passage: Passage, now: datetime
) -> list[str]:
    """Move the alerts of a run by an upload; returns the ids of those that moved, the worst first.

    ``run`` is its row as it was before the upload, locked.
    """
    over = passage.closing or (run.state if run.state in ENDED and not passage.resumes else None)
    recovers = passage.heard and run.seems_stalled
    if not findings and passage.closing is None and not passage.resumes and not recovers:
        return []
    book = Book(connection, run, now)
    if passage.resumes:
        _resume(book, passage.step)
    if recovers:
        stalled = book.key(0, "stalled")
        book.occur(stalled, Occurrence("cleared", now, passage.step, note=AGAIN))
    for finding in findings:
        _found(book, finding)
    if over is not None:
        _close_all(book, over, passage.step)
    book.close()
    if passage.closing is not None and (run.state not in ENDED or passage.resumes):
        book.run_finished()
    return book.moved


def _found(book: Book, finding: Finding) -> None:
    alert = book.key(finding.layer_id, finding.kind)
    alert.layer = finding.layer
    event = event_of(finding.kind, finding.transition, finding.severity, alert.life)
    if event == "cleared":
        book.occur(alert, Occurrence(event, book.now, finding.step, note=finding.reason or ""))
        return
    happened = Occurrence(event, book.now, finding.step, finding.severity, note=_why(finding))
    book.occur(alert, happened, _said(book.run, finding))


def _why(finding: Finding) -> str:
    return f"{finding.severity}, {finding.cause.replace('_', ' ')}"


def _resume(book: Book, step: int) -> None:
    """What was open when the run ended is open again: the detector would not say it twice."""
    held = [one for one in book.alerts if one.life is not None and one.life.closed_by == "run"]
    for alert in held:
        if alert.kind == "stalled":
            continue
        event: Literal["suspected", "resumed"] = "suspected" if alert.kind in PATIENT else "resumed"
        book.occur(alert, Occurrence(event, book.now, step, note="the run goes on"))


def _close_all(book: Book, outcome: str, step: int) -> None:
    ended = Occurrence("ended", book.now, step, note=f"the run {outcome}")
    book.each(ended, lambda alert: alert.life is not None and alert.life.is_open)


def acknowledge(connection: sa.Connection, alert_id: str, author: str, note: str, now: datetime) -> None:
    """Somebody is on it. The first one stands; their own repetition changes nothing.

    Raises AlertNotFound, AlertResolved, AlertAcknowledged.
    """
    book, alert = _asked_for(connection, alert_id, now)
    life = alert.life
    if life is not None and life.state == "acknowledged":
        if life.acknowledged_by == author:
            return
        raise AlertAcknowledged(f"{life.acknowledged_by} has it since {runs.moment(life.acknowledged_at)}")
    if not book.occur(alert, Occurrence("acknowledged", now, _step(book.run, alert), author=author, note=note)):
        raise AlertResolved
    book.close()


def resolve(connection: sa.Connection, alert_id: str, author: str, note: str, now: datetime) -> None:
    """Somebody says it is over: it stays resolved until the detector raises it anew, or finds it worse.

    Raises AlertNotFound, AlertResolved.
    """
    book, alert = _asked_for(connection, alert_id, now)
    if not book.occur(alert, Occurrence("closed", now, _step(book.run, alert), author=author, note=note)):
        raise AlertResolved
    book.close()


def _asked_for(connection: sa.Connection, alert_id: str, now: datetime) -> tuple[Book, Tracked]:
    run = runs.hold(connection, alerts.run_of(alert_id))
    if run is None:
        raise AlertNotFound
    book = Book(connection, run, now)
    alert = book.find(alert_id)
    if alert is None:
        raise AlertNotFound
    return book, alert


def _step(run: sa.Row[Any], alert: Tracked) -> int:
    opened = alert.life.opened_step if alert.life is not None else 0
    return max(opened, run.last_step or 0)


def end(connection: sa.Connection, run_id: str, outcome: Outcome, now: datetime) -> None:
    """End a run from outside: what is open is closed, and who wants to know is told. Raises RunNotFound.

    A run that had ended only changes how.
    """
    run = runs.hold(connection, run_id)
    if run is None:
        raise RunNotFound
    runs.update(connection, run_id, {"state": outcome, "finished_at": now, "updated_at": now})
    book = Book(connection, run, now)
    _close_all(book, outcome, run.last_step or 0)
    book.close()
    if run.state not in ENDED:
        book.run_finished()


def refresh(connection: sa.Connection, run_id: str, now: datetime) -> int:
    """See anew what is quiet in a run, and tell what no longer is; the number of tellings."""
    run = runs.hold(connection, run_id)
    return 0 if run is None else Book(connection, run, now).close()


def tend(connection: sa.Connection, run_id: str, pace: Pace, now: datetime) -> int:
    """Do for a run's alerts what is due by the clock; the number of tellings. Done twice, the second does nothing."""
    run = runs.hold(connection, run_id)
    if run is None:
        return 0
    book = Book(connection, run, now)
    if run.state == "running" and run.folded_at is not None:
        _suspect(book, Pulse(run.folded_at, run.pause_s), pace.stalled_after.total_seconds())
    for alert in book.alerts:
        _ripen(connection, book, alert, pace.grace)
    return book.close(pace.repeat_after)


def _suspect(book: Book, pulse: Pulse, after_s: float) -> None:
    """A run that has been silent for longer than it may has an alert, which waits for its grace."""
    if not stalls.is_stalled(pulse, book.now, after_s):
        return
    alert = book.key(0, "stalled")
    life = alert.life
    if life is not None and (life.is_open or (life.closed_by == "person" and life.since_at > pulse.heard_at)):
        return  # somebody vouched for it since it was heard
    _found(book, stalls.finding(pulse, book.now, book.run.last_step or 0, after_s))


def _ripen(connection: sa.Connection, book: Book, alert: Tracked, grace: timedelta) -> None:
    life = alert.life
    if life is None or life.state != "pending" or life.since_at + grace > book.now:
        return
    event: Literal["returned", "ripened"] = "returned" if life.returns else "ripened"
    book.occur(alert, Occurrence(event, book.now, _step(book.run, alert), note="its grace is over"))
    if alert.kind == "stalled":
        runs.update(connection, book.run.run_id, {"state": "stalled", "updated_at": book.now})


def _said(run: sa.Row[Any], finding: Finding) -> dict[str, Any]:
    """What the finding says, in numbers and in words."""
    values = finding.as_dict()
    label = f"{run.project}/{run.name or run.run_id[:13]}"
    explained = finding.cause == "upstream_collapse"
    return {
        "cause": finding.cause,
        "confidence": finding.confidence,
        "title": wording.title(finding),
        "message": wording.message(finding, label),
        "evidence": values["evidence"],
        "forecast": values["forecast"],
        "remedies": list(values["remedies"]),
        "upstream": values["evidence"].get("upstream") if explained else None,
    }
