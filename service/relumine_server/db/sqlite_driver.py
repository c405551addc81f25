"""Statements that every upload executes, handed to SQLite's driver without SQLAlchemy's work for each execution.

They are written with SQLAlchemy and compiled by it once. Values are converted by the types of their columns, and errors
are raised as SQLAlchemy raises them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

_Convert = Callable[[Any], Any] | None


def execute(connection: sa.Connection, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Execute a statement whose values need no conversion. Raises DBAPIError."""
    try:
        return _driver(connection).execute(sql, values)
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, sql, error) from error


def execute_many(connection: sa.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a statement for each row of values that need no conversion. Raises DBAPIError."""
    try:
        _driver(connection).executemany(sql, rows)
    except sqlite3.Error as error:
        raise _as_sqlalchemy(connection, sql, error) from error


class _Parameter(NamedTuple):
    """A parameter of a statement. ``constant`` is its value where the statement itself has one."""

    name: str
    constant: Any
    convert: _Convert


class _Compiled(NamedTuple):
    """The text of a statement for one engine, its parameters in order, and the conversions of its results."""

    sql: str
    parameters: Sequence[_Parameter]
    results: Sequence[_Convert]


class PreparedStatement:
    """A SELECT or an UPDATE with named parameters, compiled once for each engine."""

    def __init__(self, statement: sa.Select[Any] | sa.Update) -> None:
        self._statement = statement
        self._compiled: WeakKeyDictionary[sa.Dialect, _Compiled] = WeakKeyDictionary()

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Return the first row; None where there is none. Raises DBAPIError."""
        compiled = self._for(connection)
        row = execute(connection, compiled.sql, _converted(compiled, values)).fetchone()
        if row is None:
            return None
        return tuple(
            value if convert is None else convert(value) for convert, value in zip(compiled.results, row, strict=True)
        )

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> None:
        """Execute the statement. Raises DBAPIError."""
        compiled = self._for(connection)
        execute(connection, compiled.sql, _converted(compiled, values))

    def _for(self, connection: sa.Connection) -> _Compiled:
        compiled = self._compiled.get(connection.dialect)
        if compiled is None:
            compiled = self._compiled[connection.dialect] = _compile(self._statement, connection.dialect)
        return compiled


def _compile(statement: sa.Select[Any] | sa.Update, dialect: sa.Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    parameters = []
    for name in compiled.positiontup:
        bind = compiled.binds[name]
        parameters.append(_Parameter(name, bind.value, bind.type.dialect_impl(dialect).bind_processor(dialect)))
    columns = statement.selected_columns if isinstance(statement, sa.Select) else ()
    results = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    return _Compiled(compiled.string, parameters, results)


def _converted(compiled: _Compiled, values: Mapping[str, Any]) -> list[Any]:
    converted = []
    for name, constant, convert in compiled.parameters:
        value = values.get(name, constant)
        converted.append(value if convert is None else convert(value))
    return converted


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    return driver  # type: ignore[no-any-return]  # that of the engine


def _as_sqlalchemy(connection: sa.Connection, sql: str, error: sqlite3.Error) -> BaseException:
    return sa.exc.DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect)
