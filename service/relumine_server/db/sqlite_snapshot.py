"""A consistent snapshot of a SQLite file through the driver alone: a command that only looks loads no SQLAlchemy.

Nothing is written, so it does no harm beside the server that has the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The value of a time that cannot be read."""


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that is only read. Damaged text does not end a query."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a transaction that only reads."""
    with closing(connect_read_only(path)) as connection:
        connection.execute("BEGIN")
        yield connection


def revision(connection: sqlite3.Connection) -> str | None:
    """Return the revision of the schema; None if the file was never migrated."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def utc_time(value: object) -> datetime | None:
    """Return a stored time, which is text in UTC without a zone; EPOCH where it is damaged."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)
    except ValueError:
        return EPOCH
