"""Queries on API keys and on the sessions of browsers.

Only digests of keys and of session tokens are stored. A revoked key keeps its row, so that it stays known and so that a
server that ever had a key never becomes open again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relumine_server.auth.api_keys import KeyRow
from relumine_server.clock import Clock
from relumine_server.db import keyset
from relumine_server.db.tables import api_keys, login_sessions
from relumine_server.errors import FirstKeyMustBeAdmin, LastAdminKey

USE_NOTED = timedelta(minutes=1)
"""How often the use of a key is stored."""

_key = api_keys.c
_session = login_sessions.c
_KEY_COLUMNS = [_key[field.name] for field in fields(KeyRow)]


def any_key(connection: sa.Connection) -> bool:
    """Return True if there is, or ever was, a key."""
    return connection.execute(sa.select(_key.key_id).limit(1)).first() is not None


def insert_key(connection: sa.Connection, row: KeyRow) -> None:
    """Store a new key.

    Raises FirstKeyMustBeAdmin: the first key closes the server, and a key of any other scope cannot create a second.
    """
    is_admin_of_all = row.scope == "admin" and row.project is None
    if not is_admin_of_all and not any_key(connection):
        raise FirstKeyMustBeAdmin
    connection.execute(sa.insert(api_keys).values({name: getattr(row, name) for name in row.__slots__}))


def insert_first_key(connection: sa.Connection, row: KeyRow) -> bool:
    """Store an admin key if there never was a key; return False if there is one, even one that was made just now."""
    if any_key(connection):
        return False
    _lock_keys(connection)
    if any_key(connection):
        return False
    insert_key(connection, row)
    return True


def _lock_keys(connection: sa.Connection) -> None:
    """Keep other transactions from changing keys until this one ends. Writers to SQLite wait for each other anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE"))


def find_key(connection: sa.Connection, key_id: str) -> KeyRow | None:
    """Return a key."""
    row = connection.execute(sa.select(*_KEY_COLUMNS).where(_key.key_id == key_id)).one_or_none()
    return None if row is None else _key_row(row)


def page_keys(
    connection: sa.Connection, *, project: str | None, position: Sequence[Any] | None, limit: int
) -> list[KeyRow]:
    """Return a page of keys in the order of their creation, and one more; with ``project``, only its keys.

    ``position`` is (created_at, key_id).
    """
    query = keyset.page(sa.select(*_KEY_COLUMNS), (_key.created_at, _key.key_id), position, limit)
    if project is not None:
        query = query.where(_key.project == project)
    return [_key_row(row) for row in connection.execute(query)]


def revoke(connection: sa.Connection, key_id: str, clock: Clock) -> bool:
    """Revoke a key; return False if there is none to revoke.

    Raises LastAdminKey for the last key that can create keys, even where others are revoked at the same moment.
    """
    _lock_keys(connection)
    now = clock()  # not earlier: another key may expire while this transaction waits for the lock
    is_usable = sa.and_(_key.revoked_at.is_(None), sa.or_(_key.expires_at.is_(None), _key.expires_at > now))
    admin_keys = sa.select(_key.key_id).where(is_usable, _key.scope == "admin", _key.project.is_(None)).limit(2)
    if connection.scalars(admin_keys).all() == [key_id]:
        raise LastAdminKey
    is_this_key = sa.and_(_key.key_id == key_id, _key.revoked_at.is_(None))
    return connection.execute(sa.update(api_keys).where(is_this_key).values(revoked_at=now)).rowcount == 1


def note_use(connection: sa.Connection, key_id: str, now: datetime) -> None:
    """Store when a key was used, unless another process has just done so."""
    is_stale = sa.or_(_key.last_used_at.is_(None), _key.last_used_at <= now - USE_NOTED)
    connection.execute(sa.update(api_keys).where(_key.key_id == key_id, is_stale).values(last_used_at=now))


def insert_session(connection: sa.Connection, digest: str, key_id: str, now: datetime, expires_at: datetime) -> None:
    """Store a session, and delete those that have expired."""
    connection.execute(sa.delete(login_sessions).where(_session.expires_at <= now))
    row = {"digest": digest, "key_id": key_id, "created_at": now, "expires_at": expires_at}
    connection.execute(sa.insert(login_sessions).values(row))


def find_session(connection: sa.Connection, digest: str) -> tuple[str, datetime] | None:
    """Return the key of a session, and when the session expires."""
    query = sa.select(_session.key_id, _session.expires_at).where(_session.digest == digest)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.key_id, row.expires_at)


def delete_session(connection: sa.Connection, digest: str) -> None:
    """End a session."""
    connection.execute(sa.delete(login_sessions).where(_session.digest == digest))


def _key_row(row: sa.Row[Any]) -> KeyRow:
    return KeyRow(**row._mapping)  # noqa: SLF001 - the documented way to a row's mapping
