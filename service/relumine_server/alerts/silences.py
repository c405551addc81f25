"""The silences that people create, as rows of a small table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.schemas import alert
from relumine.schemas.base import rfc3339
from relumine_server.alerts.suppression import Silence
from relumine_server.db import keyset, tables

_s = tables.silences.c


def insert(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """Insert a silence."""
    connection.execute(sa.insert(tables.silences).values(**values))


def active(connection: sa.Connection, now: datetime) -> list[Silence]:
    """Return the silences that are active now."""
    query = sa.select(tables.silences).where(_s.starts_at <= now, _s.ends_at > now)
    return [
        Silence(
            silence_id=row.silence_id,
            project=row.project,
            matchers=row.matchers,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in connection.execute(query)
        if row.matchers  # none: a damaged one, which must not silence everything
    ]


def delete(connection: sa.Connection, silence_id: str) -> bool:
    """Delete a silence; False where there is none."""
    return connection.execute(sa.delete(tables.silences).where(_s.silence_id == silence_id)).rowcount == 1


def delete_ended(connection: sa.Connection, ended_before: datetime) -> int:
    """Delete the silences that ended before a time; return their number."""
    return connection.execute(sa.delete(tables.silences).where(_s.ends_at < ended_before)).rowcount


def any_ended(connection: sa.Connection, ended_before: datetime) -> bool:
    """Return True where a silence ended before a time."""
    return connection.execute(sa.select(_s.silence_id).where(_s.ends_at < ended_before).limit(1)).first() is not None


def page(
    connection: sa.Connection, project: str | None, position: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Return a page of silences, newest first, and one more; with ``project`` only those of that project.

    ``position`` is (created_at, silence_id).
    """
    columns = (_s.created_at, _s.silence_id)
    query = keyset.page(sa.select(tables.silences), columns, position, limit, descending=True)
    if project is not None:
        query = query.where(_s.project == project)
    return list(connection.execute(query))


def silence_view(connection: sa.Connection, rows: Iterable[Any], now: datetime) -> list[alert.Silence]:
    """Return silences as the API answers them, with the number of open alerts that each one silences."""
    rows = list(rows)
    silence_ids = [row.silence_id for row in rows]
    a = tables.alerts.c
    query = (
        sa.select(a.silenced_by, sa.func.count())
        .where(a.silenced_by.in_(silence_ids), tables.alert_is_open)
        .group_by(a.silenced_by)
    )
    counts = {silence_id: int(count) for silence_id, count in connection.execute(query)}
    return [
        alert.Silence(
            silence_id=row.silence_id,
            project=row.project,
            matchers=row.matchers,
            starts_at=rfc3339(row.starts_at),
            ends_at=rfc3339(row.ends_at),
            author=row.author,
            comment=row.comment,
            created_at=rfc3339(row.created_at),
            active=row.starts_at <= now < row.ends_at,
            matched=counts.get(row.silence_id, 0),
        )
        for row in rows
    ]
