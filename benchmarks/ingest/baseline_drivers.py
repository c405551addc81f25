"""The transaction of an upload by the bare drivers, sqlite3 and psycopg 3, on connections the server set up."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import psycopg

UPLOAD = """INSERT INTO uploads (run_id, session, rank, seq, received_at, record_count, last_step, late, processed)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
SEGMENTS = """INSERT INTO segments (run_id, session, rank, seq,
 layer_id, first_step, last_step, record_count, data, learning_rates, readings)"""
SEGMENT_VALUES = "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SEGMENT_ARRAYS = """SELECT %s, %s, %s, %s, * FROM unnest(
 %b::bigint[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[], %b::bytea[], %b::bytea[])"""
UNIT_STATS = """INSERT INTO unit_stats (run_id, session, rank, seq, step, ordinal, size_bytes, layers, columns)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PROGRESS = """UPDATE runs SET updated_at = ?, last_step = ?, uncompacted_records = ?,
 unit_stat_rows = ?, unit_stat_bytes = ?, detector_session = ?, detector_seq = ?, last_heartbeat_at = ?
 WHERE run_id = ?"""
READ_STATE = "SELECT state FROM detector_states WHERE run_id = ?"
SAVE_STATE = """INSERT INTO detector_states (session, seq, state, updated_at, run_id) VALUES (?, ?, ?, ?, ?)
 ON CONFLICT (run_id, session) DO UPDATE SET seq = excluded.seq, state = excluded.state,
 updated_at = excluded.updated_at"""


class Rows(NamedTuple):
    """The rows of one upload: values in the order of the statements."""

    run: str
    upload: tuple[Any, ...]
    segments: list[tuple[Any, ...]]
    unit_stats: list[tuple[Any, ...]]
    progress: tuple[Any, ...]
    state: tuple[Any, ...] | None


class Driver(Protocol):
    """Writes the rows of an upload in one transaction."""

    def timestamp(self, moment: datetime) -> Any:
        """Return a UTC moment as the driver takes it."""

    def write(self, rows: Rows) -> None:
        """Commit the rows."""


class Sqlite3Driver:
    """The standard library's driver."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def timestamp(self, moment: datetime) -> str:
        """Return the text the server stores: UTC without an offset."""
        return moment.replace(tzinfo=None).isoformat(" ", "microseconds")

    def write(self, rows: Rows) -> None:
        """Commit the rows."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(UPLOAD, rows.upload)
        self._connection.executemany(f"{SEGMENTS} {SEGMENT_VALUES}", rows.segments)
        self._connection.executemany(UNIT_STATS, rows.unit_stats)
        if rows.state is not None:
            execute(READ_STATE, (rows.run,)).fetchone()
            execute(SAVE_STATE, rows.state)
        execute(PROGRESS, rows.progress)
        execute("COMMIT")


class PsycopgDriver:
    """psycopg 3; segments go as arrays in its binary format, at half the cost of single rows."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def timestamp(self, moment: datetime) -> datetime:
        """Return the moment as it is."""
        return moment

    def write(self, rows: Rows) -> None:
        """Commit the rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(_percent(UPLOAD), rows.upload)
            key = rows.segments[0][:4]
            columns = [list(column) for column in zip(*rows.segments, strict=True)]
            cursor.execute(f"{SEGMENTS} {SEGMENT_ARRAYS}", (*key, *columns[4:]))
            cursor.executemany(_percent(UNIT_STATS), rows.unit_stats)
            if rows.state is not None:
                cursor.execute(_percent(READ_STATE), (rows.run,)).fetchone()
                cursor.execute(_percent(SAVE_STATE), rows.state)
            cursor.execute(_percent(PROGRESS), rows.progress)
        self._connection.commit()


def _percent(statement: str) -> str:
    """Return a statement with psycopg's placeholders."""
    return statement.replace("?", "%s")
