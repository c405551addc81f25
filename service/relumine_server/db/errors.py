"""Errors of a database as problems of the API: full, unreachable, not set up. Pure.

A full disk and a restarting server are states of the service. Any other error is a defect of this program and is raised
as it is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc

from relumine_server.db.prepared_statements import LOST
from relumine_server.errors import NotReady, StorageFull, StorageOutage, StorageUnavailable

FULL = frozenset({"SQLITE_FULL", "53100"})
READ_ONLY = frozenset({"25006"})
CONTENDED = frozenset({"55P03", "57014", "53300", "SQLITE_BUSY", "SQLITE_LOCKED"}) | LOST
"""A lock that was not free in time, a statement that took too long, no free connection: the database is there."""
DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
MISSING_TABLE = frozenset({"42P01", "3F000"})
RETRYABLE = frozenset({"40001", "40P01"}) | LOST
"""Serialization failure, deadlock, lost prepared statement: the same transaction may well succeed the second time."""


def problem_of(error: Exception, *, reading: bool = False) -> Exception:
    """Return the problem for an error of a database; the error itself if it is a defect."""
    if isinstance(error, exc.TimeoutError):
        return StorageUnavailable("all connections to the database are in use")
    if not isinstance(error, exc.DBAPIError):
        return NotReady() if reading and isinstance(error, exc.SQLAlchemyError) else error
    return _problem_of_code(error, code_of(error)) or error


def _problem_of_code(error: exc.DBAPIError, code: str) -> Exception | None:
    """Return the problem for a code of SQLite or an SQLSTATE; None for a defect of this program."""
    if code in FULL:
        return StorageFull()
    if code in MISSING_TABLE or "no such table" in str(error.orig):
        return NotReady("the database has no tables yet: relumine-server migrate")
    is_invalid_statement = code == "SQLITE_ERROR"
    is_operational = isinstance(error, exc.OperationalError | exc.InterfaceError) and not is_invalid_statement
    if code in CONTENDED:
        return StorageUnavailable()
    if code in DAMAGED:
        return StorageOutage("the file of the database is damaged: relumine-server doctor")
    is_away = code in READ_ONLY or error.connection_invalidated or is_operational
    return StorageOutage() if is_away else None


def problem_from(error: Exception) -> Exception:
    """Return the problem for an error of a database, caused by it; the error itself if it is a defect."""
    problem = problem_of(error)
    if problem is not error:
        problem.__cause__ = error
    return problem


def is_transient(error: exc.DBAPIError) -> bool:
    """Return True if the same transaction may succeed at once: the connection was lost, or another was in the way."""
    return error.connection_invalidated or code_of(error) in RETRYABLE


def code_of(error: exc.DBAPIError) -> str:
    """Return SQLite's name of an error, or the SQLSTATE of Postgres; empty if it has neither."""
    original: Any = error.orig
    code = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    return str(code or "")
