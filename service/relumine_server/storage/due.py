"""Runs at which the clock has something to do. It only looks: what is due is decided again under the run's lock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relumine_server.life import stalls
from relumine_server.life.quiet import facts, silenced_by
from relumine_server.storage import silences
from relumine_server.storage import tables as t

_a, _r = t.alerts.c, t.runs.c


def runs(
    connection: sa.Connection, stalled_after: timedelta, grace: timedelta, repeat_after: timedelta, now: datetime
) -> list[str]:
    """The runs that something is due at, each once."""
    found = dict.fromkeys(connection.scalars(_waiting(now - grace, now - repeat_after)))
    found |= dict.fromkeys(_silent(connection, stalled_after, now))
    found |= dict.fromkeys(silenced_otherwise(connection, now))
    return list(found)


def _waiting(ripe: datetime, tired: datetime) -> sa.Select[Any]:
    """Runs with alerts whose grace is over, or that nobody answered for too long."""
    heard = sa.and_(_a.muted_by.is_(None), _a.silenced_by.is_(None))
    again = sa.and_(_a.severity != "info", _a.owed.is_(False), _a.told_at <= tired)
    return (
        sa.select(_a.run_id)
        .where(
            sa.or_(
                sa.and_(_a.state == "pending", _a.since_at <= ripe),
                sa.and_(_a.state.in_(["firing", "regressed"]), heard, sa.or_(again, _a.owed)),
            )
        )
        .distinct()
        .order_by(_a.run_id)
    )


def _silent(connection: sa.Connection, after: timedelta, now: datetime) -> list[str]:
    """Runs that have reported nothing for longer than they may, and are not suspected yet."""
    suspected = sa.exists().where(
        _a.run_id == _r.run_id, _a.layer_id == 0, _a.kind == "stalled", _a.state != "resolved"
    )
    query = sa.select(_r.run_id, _r.folded_at, _r.pause_s).where(
        _r.state == "running", _r.folded_at <= now - after, ~suspected
    )
    rows = connection.execute(query.order_by(_r.run_id)).all()
    after_s = after.total_seconds()
    return [row.run_id for row in rows if stalls.is_stalled(stalls.Pulse(row.folded_at, row.pause_s), now, after_s)]


def silenced_otherwise(connection: sa.Connection, now: datetime) -> list[str]:
    """Runs with open alerts that a silence has begun or ceased to hold."""
    holding = silences.active(connection, now)
    query = (
        sa.select(
            _a.run_id, _a.kind, _a.severity, _a.cause, _a.silenced_by,
            _r.project, _r.group_name, _r.name, t.layers.c.name.label("layer"),
        )
        .join(t.runs, _r.run_id == _a.run_id)
        .outerjoin(t.layers, (t.layers.c.run_id == _a.run_id) & (t.layers.c.layer_id == _a.layer_id))
        .where(_a.state.in_(["pending", "firing", "acknowledged", "regressed"]))
    )  # fmt: skip
    if not holding:
        query = query.where(_a.silenced_by.is_not(None))
    rows = connection.execute(query).all()
    about = [facts(row, row.layer, row.kind, row.severity, row.cause) for row in rows]
    changed = [
        row.run_id for row, told in zip(rows, about, strict=True) if silenced_by(holding, told, now) != row.silenced_by
    ]
    return list(dict.fromkeys(changed))
