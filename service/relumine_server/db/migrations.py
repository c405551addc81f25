"""Migration of a database to the schema of this version. Alembic is configured in code: a wheel needs no file."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from relumine_server.db import revisions
from relumine_server.db.revisions import script_location

MIGRATION_LOCK = 7358  # the advisory lock of a process that migrates
POLL_S = 0.1
WAIT_LOGGED_EVERY_S = 10.0
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
TRANSACTION_TIMEOUT_SINCE = (17,)  # the first Postgres that has transaction_timeout

_log = structlog.get_logger(__name__)


def config(connection: sa.Connection | None = None) -> Config:
    """Return the configuration of Alembic for a connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(script_location()))
    alembic.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(rev)s_%%(slug)s")
    alembic.attributes["connection"] = connection
    return alembic


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate up to a revision, however long it takes; log each revision that is applied.

    Several servers may start at once: they wait for the one that migrates, as long as it takes.
    """
    with engine.begin() as connection:
        take_turn(connection)
        command.upgrade(config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate down to a revision; ``base`` drops all tables."""
    with engine.begin() as connection:
        take_turn(connection)
        command.downgrade(config(connection), revision)


def take_turn(connection: sa.Connection) -> None:
    """Wait until no other process migrates; from then on this transaction is the only one, without any timeout.

    Does nothing on SQLite, whose file is locked by one process.
    """
    if connection.dialect.name != "postgresql":
        return
    names = list(TIMEOUTS)
    if (connection.dialect.server_version_info or ()) >= TRANSACTION_TIMEOUT_SINCE:
        names.append("transaction_timeout")
    for name in names:  # those of requests would cancel a long statement, or the wait for another process
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")
    try_lock = sa.select(sa.func.pg_try_advisory_xact_lock(MIGRATION_LOCK))
    started_at = time.monotonic()
    logged_at: float | None = None
    while not connection.scalar(try_lock):
        now = time.monotonic()
        if logged_at is None or now - logged_at >= WAIT_LOGGED_EVERY_S:
            logged_at = now
            _log.warning("waiting for another process that migrates the database", waited_s=round(now - started_at))
        time.sleep(POLL_S)  # until the other process has migrated


def log_step(step: Any, **_context: Any) -> None:
    """Log a revision that was applied or undone: the callback of Alembic's environment."""
    _log.info("migrated", revision=step.up_revision_id, direction="up" if step.is_upgrade else "down")


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database; None if it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Return the revision that this version of the server needs."""
    return revisions.head(script_location())
