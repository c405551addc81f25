"""What went wrong in a database, as callers may be told: full, out of reach, not set up. Pure.

A disk that is full and a server that restarts are states of the service; anything else is a fault of ours, and stays
one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc

from relumine_server.errors import NotReady, StorageFull, StorageUnavailable

FULL = frozenset({"SQLITE_FULL", "53100"})
READ_ONLY = frozenset({"25006"})
MISSING_TABLE = frozenset({"42P01", "3F000"})
AGAIN = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may well succeed the second time."""


def problem_of(error: Exception, *, reading: bool = False) -> Exception:
    """What to raise instead of a database's error; the error itself where nothing better can be said."""
    if isinstance(error, exc.TimeoutError):
        return StorageUnavailable("all connections to the database are in use")
    if not isinstance(error, exc.DBAPIError):
        return NotReady() if reading and isinstance(error, exc.SQLAlchemyError) else error
    code = code_of(error)
    if code in FULL:
        return StorageFull()
    if code in MISSING_TABLE or "no such table" in str(error.orig):
        return NotReady("the database has no tables yet: relumine-server migrate")
    ours = code == "SQLITE_ERROR"  # a statement that SQLite does not understand
    if (
        code in READ_ONLY
        or error.connection_invalidated
        or (isinstance(error, exc.OperationalError | exc.InterfaceError) and not ours)
    ):
        return StorageUnavailable()
    return error


def is_passing(error: exc.DBAPIError) -> bool:
    """Whether the same work may succeed at once: the connection was lost, or others were in the way."""
    return error.connection_invalidated or code_of(error) in AGAIN


def code_of(error: exc.DBAPIError) -> str:
    """SQLite's name of an error or the SQLSTATE of Postgres; empty where there is neither."""
    original: Any = error.orig
    code = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    return str(code or "")
