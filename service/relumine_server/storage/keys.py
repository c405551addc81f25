"""Rows of API keys. Of the key itself only a digest is here; a revoked key keeps its row, so that it stays known.

Because rows stay, a server that ever had a key never opens again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from relumine_server.credentials import Scope
from relumine_server.errors import FirstKeyMustBeAdmin, LastAdminKey
from relumine_server.storage.tables import keys

USE_NOTED = timedelta(minutes=1)
"""How often the use of a key is written down."""

_k = keys.c


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key, without its secret."""

    key_id: str
    digest: str
    scope: Scope
    project: str | None
    name: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """What the key is good for."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


_COLUMNS = [_k[field.name] for field in fields(KeyRow)]


def exist(session: sa.Connection) -> bool:
    """Whether there is, or ever was, any key."""
    return session.execute(sa.select(_k.key_id).limit(1)).first() is not None


def insert(session: sa.Connection, row: KeyRow) -> None:
    """Write a new key.

    Raises FirstKeyMustBeAdmin: the first key closes the server, and with any other nobody could make a second one.
    """
    if (row.scope != "admin" or row.project is not None) and not exist(session):
        raise FirstKeyMustBeAdmin
    session.execute(sa.insert(keys).values({name: getattr(row, name) for name in row.__slots__}))


def insert_first(session: sa.Connection, row: KeyRow) -> bool:
    """Write an admin key where there never was any; False where there is one, also if another process just made it."""
    if exist(session):
        return False
    if session.dialect.name == "postgresql":  # SQLite's writers wait for each other anyway
        session.execute(sa.text("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE"))
        if exist(session):
            return False
    insert(session, row)
    return True


def find(session: sa.Connection, key_id: str) -> KeyRow | None:
    """One key."""
    row = session.execute(sa.select(*_COLUMNS).where(_k.key_id == key_id)).one_or_none()
    return None if row is None else _read(row)


def page(session: sa.Connection, *, project: str | None, after: Sequence[Any] | None, limit: int) -> list[KeyRow]:
    """Keys in the order of their creation from behind ``after`` on; only those of a project, where one is given."""
    query = sa.select(*_COLUMNS).order_by(_k.created_at, _k.key_id).limit(limit)
    if project is not None:
        query = query.where(_k.project == project)
    if after is not None:
        behind = sa.tuple_(sa.bindparam(None, after[0], _k.created_at.type), after[1])
        query = query.where(sa.tuple_(_k.created_at, _k.key_id) > behind)
    return [_read(row) for row in session.execute(query)]


def revoke(session: sa.Connection, key_id: str, now: datetime) -> bool:
    """Make a key worthless; False where there is none to revoke.

    Raises LastAdminKey where nobody could make keys any more.
    """
    usable = sa.and_(_k.revoked_at.is_(None), sa.or_(_k.expires_at.is_(None), _k.expires_at > now))
    masters = session.scalars(sa.select(_k.key_id).where(usable, _k.scope == "admin", _k.project.is_(None)).limit(2))
    if masters.all() == [key_id]:
        raise LastAdminKey
    ours = sa.and_(_k.key_id == key_id, _k.revoked_at.is_(None))
    return session.execute(sa.update(keys).where(ours).values(revoked_at=now)).rowcount == 1


def note_use(session: sa.Connection, key_id: str, now: datetime) -> None:
    """Write down that a key was used, unless another process just did."""
    stale = sa.or_(_k.last_used_at.is_(None), _k.last_used_at <= now - USE_NOTED)
    session.execute(sa.update(keys).where(_k.key_id == key_id, stale).values(last_used_at=now))


def _read(row: sa.Row[Any]) -> KeyRow:
    return KeyRow(*list(row))
