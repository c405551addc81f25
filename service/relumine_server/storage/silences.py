"""Silences that people set, as rows of a small table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine import views
from relumine_server.life.quiet import Silence
from relumine_server.storage import tables as t
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.runs import moment

_s = t.silences.c


def insert(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """A new silence."""
    connection.execute(sa.insert(t.silences).values(**values))


def active(connection: sa.Connection, now: datetime) -> list[Silence]:
    """The silences that hold now."""
    query = sa.select(t.silences).where(_s.starts_at <= now, _s.ends_at > now)
    return [
        Silence(row.silence_id, row.project, row.matchers, row.starts_at, row.ends_at)
        for row in connection.execute(query)
    ]


def delete(connection: sa.Connection, silence_id: str) -> bool:
    """End a silence; says whether there was one."""
    return connection.execute(sa.delete(t.silences).where(_s.silence_id == silence_id)).rowcount == 1


def delete_ended(connection: sa.Connection, before: datetime) -> int:
    """Forget the silences that ended before a moment; the number of them."""
    return connection.execute(sa.delete(t.silences).where(_s.ends_at < before)).rowcount


def any_ended(connection: sa.Connection, before: datetime) -> bool:
    """Whether a silence ended before a moment."""
    return connection.execute(sa.select(_s.silence_id).where(_s.ends_at < before).limit(1)).first() is not None


def page(connection: sa.Connection, project: str | None, after: Sequence[Any] | None, limit: int) -> list[sa.Row[Any]]:
    """Silences, newest first; with ``project`` those of that one alone.

    ``after`` is the (created_at, silence_id) of the last one shown.
    """
    query = sa.select(t.silences).order_by(_s.created_at.desc(), _s.silence_id.desc()).limit(limit)
    if project is not None:
        query = query.where(_s.project == project)
    if after is not None:
        keys = sa.tuple_(sa.bindparam(None, after[0], UtcTime), after[1])
        query = query.where(sa.tuple_(_s.created_at, _s.silence_id) < keys)
    return list(connection.execute(query))


def view(connection: sa.Connection, rows: Iterable[Any], now: datetime) -> list[views.Silence]:
    """Silences as the API shows them, with the number of alerts that they hold."""
    shown = list(rows)
    ids = [row.silence_id for row in shown]
    a = t.alerts.c
    held = sa.and_(a.silenced_by.in_(ids), a.state != "resolved")
    query = sa.select(a.silenced_by, sa.func.count()).where(held).group_by(a.silenced_by)
    counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    return [
        views.Silence(
            silence_id=row.silence_id,
            project=row.project,
            matchers=row.matchers,
            starts_at=moment(row.starts_at) or "",
            ends_at=moment(row.ends_at) or "",
            author=row.author,
            comment=row.comment,
            created_at=moment(row.created_at) or "",
            active=row.starts_at <= now < row.ends_at,
            matched=counts.get(row.silence_id, 0),
        )
        for row in shown
    ]
