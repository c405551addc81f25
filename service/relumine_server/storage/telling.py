"""What is left to tell when a payload is written: alerts move on while a notification waits.

A receiver is told that an alert is over, or that somebody is on it, where it was told that the alert fires; an alert
that was over before its firing was sent is not told at all. What each webhook was told of a run is kept in ``told``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from relumine_server.storage import dialect, subjects
from relumine_server.storage import tables as t
from relumine_server.storage.subjects import Key, Subject
from relumine_server.storage.webhooks import WebhookRow

FIRING = "alert.firing"
_OVER = {"resolved"}

_a, _t = t.alerts.c, t.told.c


class Standing(NamedTuple):
    """How an alert stands, without what it says: of ten thousand only the worst are read whole."""

    alert_id: str
    layer_id: int
    kind: str
    state: str
    severity: str
    confidence: float

    @property
    def key(self) -> Key:
        """What names it within its run."""
        return self.layer_id, self.kind


_STANDING = sa.select(*(_a[name] for name in Standing._fields))


def left(connection: sa.Connection, event: str, run_id: str, webhook: WebhookRow, subject: Subject) -> list[Standing]:
    """The alerts of a subject that this event still holds of.

    A webhook that does not hear of firing alerts is told by its severity alone.
    """
    asked = subjects.unpack(subject)
    every = (Standing(*row) for row in connection.execute(_STANDING.where(_a.run_id == run_id)))
    rows = [one for one in every if one.key in asked]
    known = _told(connection, run_id, webhook.webhook_id) if event != FIRING and FIRING in webhook.events else None
    holds = _rule(event, known, webhook.severity)
    return [one for one in rows if holds(one)]


def remember(connection: sa.Connection, event: str, run_id: str, webhook_id: str, told: Sequence[Standing]) -> None:
    """Keep what a webhook was told: these alerts fire, or are over."""
    if event not in {FIRING, "alert.resolved"}:
        return
    before, moved = _told(connection, run_id, webhook_id), {one.key for one in told}
    after = before | moved if event == FIRING else before - moved
    if after != before:
        row = {"run_id": run_id, "webhook_id": webhook_id, "keys": subjects.pack(after)}
        statement = dialect.insert(connection, t.told).values(**row)
        key = ["run_id", "webhook_id"]
        connection.execute(
            statement.on_conflict_do_update(index_elements=key, set_={"keys": statement.excluded["keys"]})
        )


def _rule(event: str, known: set[Key] | None, least: str) -> Callable[[Standing], bool]:
    if event == FIRING:
        return lambda one: one.state not in _OVER and subjects.reaches(one.severity, least)
    state = event.removeprefix("alert.")
    if known is None:
        return lambda one: one.state == state and subjects.reaches(one.severity, least)
    return lambda one: one.state == state and one.key in known


def _told(connection: sa.Connection, run_id: str, webhook_id: str) -> set[Key]:
    query = sa.select(_t["keys"]).where(_t.run_id == run_id, _t.webhook_id == webhook_id)
    return subjects.unpack(connection.scalar(query) or {})
