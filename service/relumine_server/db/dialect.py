"""The few places that differ between SQLite and Postgres, and what the writers of both share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")
WriteFn: TypeAlias = Callable[[sa.Connection], T]
"""A function that reads and writes in the transaction of its connection."""

MAX_WAITING = 256  # writes that may wait before callers are refused

CONNECTION_TIMEOUT_S = 0.9
"""Time a write waits for a connection to Postgres while none becomes free."""


def sqlite_time(time: datetime) -> str:
    """Return a time as SQLAlchemy stores it in SQLite."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


@lru_cache
def plain_insert(table: sa.Table, columns: tuple[str, ...]) -> str:
    """Return an INSERT for SQLite of these columns in this order, for values that need no conversion."""
    names = ", ".join(f'"{table.c[name].name}"' for name in columns)
    placeholders = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({placeholders})"  # noqa: S608 - names of our own tables


@contextmanager
def pipelined(connection: sa.Connection) -> Iterator[None]:
    """Send Postgres the statements inside without waiting for each response; their results must not be read."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    dbapi = connection.dialect.loaded_dbapi
    try:
        with driver.pipeline():
            yield
    except dbapi.Error as error:  # a response that came after SQLAlchemy had left the statement
        is_disconnected = connection.dialect.is_disconnect(error, driver, None)
        if is_disconnected:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            "pipeline", None, error, dbapi.Error, connection_invalidated=is_disconnected, dialect=connection.dialect
        ) from error


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT with ON CONFLICT in the dialect of the connection; both spell it the same way."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
