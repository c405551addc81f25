"""Rows of logins: a browser that gave a key. Stored is a digest of what its cookie holds; the rights are the key's."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from relumine_server.storage.tables import logins

_l = logins.c


def insert(session: sa.Connection, digest: str, key_id: str, now: datetime, expires_at: datetime) -> None:
    """Write a login, and take away those that are over."""
    session.execute(sa.delete(logins).where(_l.expires_at <= now))
    row = {"digest": digest, "key_id": key_id, "created_at": now, "expires_at": expires_at}
    session.execute(sa.insert(logins).values(row))


def find(session: sa.Connection, digest: str) -> tuple[str, datetime] | None:
    """The key of a login, and when the login ends."""
    row = session.execute(sa.select(_l.key_id, _l.expires_at).where(_l.digest == digest)).one_or_none()
    return None if row is None else (row.key_id, row.expires_at)


def delete(session: sa.Connection, digest: str) -> None:
    """End a login."""
    session.execute(sa.delete(logins).where(_l.digest == digest))
