"""The few places where the two databases are spoken to differently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def stored_moment(moment: datetime) -> str:
    """A moment as SQLAlchemy keeps it in SQLite."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


@lru_cache
def plain_insert(table: sa.Table, columns: tuple[str, ...]) -> str:
    """SQLite's text of an INSERT of these columns in this order, for values that need no translation."""
    names, marks = ", ".join(f'"{table.c[name].name}"' for name in columns), ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of our own tables


@contextmanager
def pipelined(connection: sa.Connection) -> Iterator[None]:
    """Postgres is sent what is executed inside without waiting for each answer; nothing in it may be read."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    dbapi = connection.dialect.loaded_dbapi
    try:
        with driver.pipeline():
            yield
    except dbapi.Error as error:  # an answer that came after SQLAlchemy had left the statement
        lost = connection.dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            "pipeline", None, error, dbapi.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of the connection; both spell it the same way."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
