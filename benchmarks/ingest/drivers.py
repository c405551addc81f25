"""The transaction of an upload as the bare drivers do it: sqlite3 and psycopg 3, on connections the server set up."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import psycopg

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "foreign_keys=ON",
    f"journal_size_limit={2**26}",
)

UPLOAD = """INSERT INTO uploads (run_id, session, rank, seq, received_at, records, last_step, late, folded)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
SEGMENTS = """INSERT INTO segments (run_id, session, rank, seq,
 layer_id, first_step, last_step, records, columns, rates, readings)"""
UNNEST = """SELECT %s, %s, %s, %s, * FROM unnest(
 %b::bigint[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[], %b::bytea[], %b::bytea[])"""
UNITS = """INSERT INTO unit_rows (run_id, session, rank, seq, step, ordinal, size, layers, columns)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
UPDATE = """UPDATE runs SET updated_at = ?, last_step = ?, loose_records = ?, unit_rows = ?, unit_bytes = ?,
 folded_session = ?, folded_seq = ?, folded_at = ? WHERE run_id = ?"""
READ = "SELECT state FROM detector_states WHERE run_id = ?"
SAVE = """INSERT INTO detector_states (session, seq, state, updated_at, run_id) VALUES (?, ?, ?, ?, ?)
 ON CONFLICT (run_id) DO UPDATE SET session = excluded.session, seq = excluded.seq, state = excluded.state,
 updated_at = excluded.updated_at"""


class Rows(NamedTuple):
    """The rows of one upload: values in the order of the statements."""

    run: str
    upload: tuple[Any, ...]
    segments: list[tuple[Any, ...]]
    units: list[tuple[Any, ...]]
    update: tuple[Any, ...]
    state: tuple[Any, ...] | None


class Driver(Protocol):
    """Writes the rows of an upload in one transaction."""

    def moment(self, moment: datetime) -> Any:
        """A moment as the driver takes it."""

    def write(self, rows: Rows) -> None:
        """Commit them."""


class Sqlite:
    """The standard library's driver."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def moment(self, moment: datetime) -> str:
        """As the server stores it: in UTC, without saying so."""
        return moment.replace(tzinfo=None).isoformat(" ", "microseconds")

    def write(self, rows: Rows) -> None:
        """Commit them."""
        run, run_many = self._connection.execute, self._connection.executemany
        run("BEGIN IMMEDIATE")
        run(UPLOAD, rows.upload)
        run_many(f"{SEGMENTS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.segments)
        run_many(UNITS, rows.units)
        if rows.state is not None:
            run(READ, (rows.run,)).fetchone()
            run(SAVE, rows.state)
        run(UPDATE, rows.update)
        run("COMMIT")


class Postgres:
    """psycopg 3; segments go as arrays in its binary format, which costs half of a row each."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def moment(self, moment: datetime) -> datetime:
        """Just so."""
        return moment

    def write(self, rows: Rows) -> None:
        """Commit them."""
        with self._connection.cursor() as cursor:
            cursor.execute(_percent(UPLOAD), rows.upload)
            columns = [list(column) for column in zip(*rows.segments, strict=True)]
            cursor.execute(f"{SEGMENTS} {UNNEST}", (*rows.segments[0][:4], *columns[4:]))
            cursor.executemany(_percent(UNITS), rows.units)
            if rows.state is not None:
                cursor.execute(_percent(READ), (rows.run,)).fetchone()
                cursor.execute(_percent(SAVE), rows.state)
            cursor.execute(_percent(UPDATE), rows.update)
        self._connection.commit()


def _percent(statement: str) -> str:
    """Placeholders as psycopg has them."""
    return statement.replace("?", "%s")
