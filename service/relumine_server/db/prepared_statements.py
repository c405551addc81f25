"""Prepared statements on Postgres, which do not survive a pooler that gives each transaction another connection.

psycopg prepares what it executes often. Behind PgBouncer in transaction mode the statement is then missing on the next
connection, or there already. Where a pooler is noticed, nothing is prepared.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import structlog

LOST = frozenset({"26000", "42P05"})
"""A prepared statement does not exist, or exists already: another connection than the one that prepared it."""

_log = structlog.get_logger(__name__)


class PreparedStatements:
    """The choice whether statements are prepared, for the connections of some engines. Thread-safe."""

    def __init__(self) -> None:
        self._is_off = False

    def attach(self, engine: sa.Engine) -> None:
        """Decide for the connections of an engine."""
        sa.event.listen(engine, "connect", self._detect)
        sa.event.listen(engine, "checkout", self._apply)

    def note(self, code: str) -> None:
        """Prepare nothing from now on if this SQLSTATE says that a statement got lost."""
        if code in LOST:
            self._switch_off()

    def _detect(self, connection: Any, _record: Any) -> None:
        """Compare the backend that a connection was announced with the one that answers: a pooler makes up its own."""
        with connection.cursor() as cursor:
            (backend,) = cursor.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
        connection.commit()
        if backend != connection.pgconn.backend_pid:
            self._switch_off()

    def _apply(self, connection: Any, _record: Any, _proxy: Any) -> None:
        if self._is_off:
            connection.prepare_threshold = None

    def _switch_off(self) -> None:
        if not self._is_off:
            _log.warning("a connection pooler is in front of the database: statements are not prepared")
        self._is_off = True
