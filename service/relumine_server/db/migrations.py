"""Migration of a database to the schema of this version. Alembic is configured in code: a wheel needs no file."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

MIGRATION_LOCK = 7358  # the advisory lock of a process that migrates
_PACKAGE = Path(__file__).resolve().parent.parent


def script_location() -> Path:
    """Return the folder of the migrations: in the package in a wheel, at the top of a checkout otherwise."""
    in_wheel = _PACKAGE / "_migrations"
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent.parent / "migrations"


def config(connection: sa.Connection | None = None) -> Config:
    """Return the configuration of Alembic for a connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(script_location()))
    alembic.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(rev)s_%%(slug)s")
    alembic.attributes["connection"] = connection
    return alembic


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate up to a revision."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # several servers may start at once
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        command.upgrade(config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate down to a revision; ``base`` drops all tables."""
    with engine.begin() as connection:
        command.downgrade(config(connection), revision)


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database; None if it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Return the revision that this version of the server needs."""
    return ScriptDirectory.from_config(config()).get_current_head()
