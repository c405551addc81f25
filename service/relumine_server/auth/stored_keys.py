"""The keys in a SQLite file, read through the driver: ``relumine-server keys list`` loads no SQLAlchemy."""

from __future__ import annotations

import sqlite3
from dataclasses import fields

from relumine_server.auth.api_keys import KeyRow
from relumine_server.db.sqlite_snapshot import utc_time

_TIMES = ("created_at", "expires_at", "revoked_at", "last_used_at")


def all_keys(connection: sqlite3.Connection) -> list[KeyRow]:
    """Return every key in the order of their creation."""
    names = [field.name for field in fields(KeyRow)]
    # The names are those of the class above, not input.
    query = f"SELECT {', '.join(names)} FROM api_keys ORDER BY created_at, key_id"  # noqa: S608
    return [_row(dict(zip(names, values, strict=True))) for values in connection.execute(query)]


def _row(values: dict[str, object]) -> KeyRow:
    for name in _TIMES:
        values[name] = utc_time(values[name])
    return KeyRow(**values)  # type: ignore[arg-type]  # the columns of the table
