"""Remedies that a training applied to an alert, read from the numbers of its run, and what became of them since."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from relumine import views
from relumine.table import MAX_STEP
from relumine_server.detection import outcome
from relumine_server.detection.policy import DEFAULT
from relumine_server.storage import encoding, policies, series, sessions
from relumine_server.storage import tables as t

PREFIX, MARK = "remedy/", "mark/"
"""How the names of numbers begin that say what the training did."""
SHARES = ("dying_fraction", "dead_fraction", "born_dead_fraction")
_DIVERGED = encoding.STATES.index("diverged")
_HELD: dict[str, bool | None] = {
    "raised": True, "suspected": True, "escalated": True, "changed": True, "resumed": True, "cleared": False,
    "closed": None,
}  # fmt: skip
"""What an event says of the problem. What the detector finds of an alert that a person closed is not written down."""
BECAME_DEAD = "became dead"


class Applied(NamedTuple):
    """One remedy that was applied."""

    step: int
    alert_id: str
    action: str


def of(connection: sa.Connection, alert: views.Alert) -> list[views.Treatment]:
    """What was applied to an alert, the oldest first, each with what is stored of its layer since."""
    around, marks = _done(connection, alert)
    own = [one for one in around if one.alert_id == alert.id]
    if not own:
        return []
    policy = policies.load(connection, alert.project) or DEFAULT
    seen, turns = _looks(connection, alert, own[0].step), _turns(connection, alert)
    case = outcome.Case(
        alert.kind,
        int(alert.evidence.get("units") or 0),
        alert.evidence.get("baseline_fraction") or 0.0,
        alert.resolved_reason in views.ENDED_WITH_RUN,
    )
    ends = sorted({one.step for one in around} | marks)
    found = []
    for one in own:
        until = next((step for step in ends if step > one.step), None)
        judged = outcome.judge(case, one.step, until, seen, turns, policy)
        found.append(views.Treatment(action=one.action, step=one.step, **judged._asdict()))
    return found


def _done(connection: sa.Connection, alert: views.Alert) -> tuple[list[Applied], set[int]]:
    """Every remedy for any alert of the layer, by step, and the steps of new baselines.

    Each once, however often its number was sent; none of a session that another took over from.
    """
    prefix = f"{PREFIX}{alert.run_id}.{alert.layer_id}."
    found, marks = set(), set()
    for step, name in _named(connection, alert.run_id, (prefix, MARK)):
        if name.startswith(MARK):
            marks.add(step)
        else:
            alert_id, _, action = name.removeprefix(PREFIX).partition("/")
            found.add(Applied(step, alert_id, action))
    return sorted(found), marks


def _named(connection: sa.Connection, run_id: str, prefixes: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Step and name of the run's numbers that are called so; the database leaves out uploads without any."""
    c = t.numbers.c
    text = sa.cast(c["items"], sa.Text)
    named = sa.or_(*(text.contains(prefix, autoescape=True) for prefix in prefixes))
    shown = sessions.load(connection, run_id)
    query = sa.select(c.session, c["items"]).where(c.run_id == run_id, c.rank == 0, named)
    for session, items in connection.execute(query):
        for step, name, _value in items:
            if name.startswith(prefixes) and shown.shows(session, step):
                yield step, name


def _looks(connection: sa.Connection, alert: views.Alert, step: int) -> list[outcome.Look]:
    """The looks at the alert's layer from its beginning on that were judged; all at the run, and without shares."""
    steps = (min(alert.opened_step, step), MAX_STEP)
    names = (*SHARES, "state")
    found = series.load(connection, alert.run_id, [alert.layer_id], names, steps=steps).get(alert.layer_id)
    if found is None:
        return []
    columns = (found[name].tolist() for name in ("step", *names))
    nothing = (math.nan,) * len(SHARES)
    return [
        outcome.Look(int(at), *(nothing if state == _DIVERGED else shares))
        for at, *shares, state in zip(*columns, strict=True)
        if not alert.layer_id or not math.isnan(state)  # a late upload is stored and not judged
    ]


def _turns(connection: sa.Connection, alert: views.Alert) -> list[outcome.Turn]:
    """What the detector held of the problem, by the history of its alert."""
    c = t.history.c
    mine = (c.run_id == alert.run_id, c.alert_id == alert.id, c.event.in_(list(_HELD)))
    rows = connection.execute(sa.select(c.step, c.event, c.note).where(*mine).order_by(c.number))
    return [
        outcome.Turn(step, None if note == BECAME_DEAD else _HELD[event])  # that is not over: its dead are judged
        for step, event, note in rows
    ]
