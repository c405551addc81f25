"""The lives of alerts as rows: loaded without what they say, written many at a time. Nothing here decides.

Whoever writes has locked the run: all moves of the alerts of one run come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.views import Cause, Kind
from relumine_server.life.machine import Entry, Life
from relumine_server.life.quiet import About
from relumine_server.storage import tables as t

LIFE = tuple(one.name for one in fields(Life))
CONTENT = ("cause", "confidence", "title", "message", "evidence", "forecast", "remedies", "upstream")
UNSEEN = frozenset({"told_at", "owed"})
"""What of a life the API does not show: an alert has not moved where only this changed."""

_c = t.alerts.c
_LOAD = (
    sa.select(
        _c.alert_id, _c.layer_id, _c.kind, _c.cause, _c.upstream, _c.updated_at, *(_c[name] for name in LIFE),
        t.layers.c.name.label("layer"),
    )
    .outerjoin(t.layers, (t.layers.c.run_id == _c.run_id) & (t.layers.c.layer_id == _c.layer_id))
    .where(_c.run_id == sa.bindparam("run"))
    .order_by(_c.layer_id, _c.kind)
)  # fmt: skip


@dataclass(slots=True)
class Tracked:
    """An alert in the hands of a transaction: what it was, what became of it, and what is to be written.

    ``life`` is None before it was ever raised; ``content`` holds what it says where that is new.
    """

    alert_id: str
    layer_id: int
    kind: Kind
    cause: Cause = "unknown"
    upstream: Sequence[int] = ()
    layer: str | None = None
    life: Life | None = None
    before: Life | None = None
    updated_at: datetime | None = None
    content: Mapping[str, Any] | None = None
    entries: list[Entry] = field(default_factory=list)
    fired_now: bool = False
    taken_now: bool = False

    def about(self, life: Life) -> About:
        """What decides whether it mutes others or is muted."""
        return About(self.alert_id, self.layer_id, self.kind, life.severity, self.cause, life.state, self.upstream)


def load(connection: sa.Connection, run_id: str) -> dict[str, Tracked]:
    """All alerts of a run by their ids, in the order of layers."""
    found = {}
    for row in connection.execute(_LOAD, {"run": run_id}):
        life = Life(*(getattr(row, name) for name in LIFE))
        found[row.alert_id] = Tracked(
            row.alert_id, row.layer_id, row.kind, row.cause, row.upstream or (), row.layer, life, life, row.updated_at
        )
    return found


def save(connection: sa.Connection, run: sa.Row[Any], alerts: Sequence[Tracked], now: datetime) -> None:
    """Write what became of alerts of a run, and their history; each kind of writing is one statement."""
    new = [_new(run, one, one.life, now) for one in alerts if one.before is None and one.life is not None]
    known = [one for one in alerts if one.before is not None]
    moved = [
        _key(run, one) | _set({**_values(one.life), "updated_at": _moved_at(one, now)})
        for one in known
        if one.life is not None and (one.life != one.before or one.content is not None)
    ]
    said = [_key(run, one) | _set(_said(one.content)) for one in known if one.content is not None]
    told = [_line(run, one, entry) for one in alerts for entry in one.entries]
    for statement, rows in (
        (sa.insert(t.alerts), new),
        (_update((*LIFE, "updated_at")), moved),
        (_update(CONTENT), said),
        (sa.insert(t.history), told),
    ):
        if rows:
            connection.execute(statement, rows)


def _new(run: sa.Row[Any], one: Tracked, life: Life, now: datetime) -> dict[str, Any]:
    key = {"run_id": run.run_id, "alert_id": one.alert_id, "layer_id": one.layer_id, "kind": one.kind}
    return {**key, "project": run.project, "updated_at": now, **_values(life), **_said(one.content or {})}


def _values(life: Life | None) -> dict[str, Any]:
    return {name: getattr(life, name) for name in LIFE}


def _said(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in CONTENT}


def _moved_at(one: Tracked, now: datetime) -> datetime | None:
    seen = any(getattr(one.life, name) != getattr(one.before, name) for name in LIFE if name not in UNSEEN)
    return now if seen or one.content is not None else one.updated_at


def _key(run: sa.Row[Any], one: Tracked) -> dict[str, Any]:
    return {"of_run": run.run_id, "of_alert": one.alert_id}


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


def _update(names: tuple[str, ...]) -> sa.Update:
    new = {name: sa.bindparam(f"new_{name}", type_=_c[name].type) for name in names}
    mine = (_c.run_id == sa.bindparam("of_run"), _c.alert_id == sa.bindparam("of_alert"))
    return sa.update(t.alerts).where(*mine).values(new)


def _line(run: sa.Row[Any], one: Tracked, entry: Entry) -> dict[str, Any]:
    values = entry._asdict()
    return {"run_id": run.run_id, "alert_id": one.alert_id, "moved_at": values.pop("at"), **values}
