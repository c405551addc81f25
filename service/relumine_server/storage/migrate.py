"""Brings a database to the schema of this version. Alembic is configured here, so that it works from a wheel too."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

MIGRATING = 7358  # names the lock of whoever migrates
_PACKAGE = Path(__file__).resolve().parent.parent


def script_location() -> Path:
    """Where the migrations are: beside the package in a wheel, at the top of a checkout otherwise."""
    shipped = _PACKAGE / "_migrations"
    return shipped if shipped.is_dir() else _PACKAGE.parent.parent / "migrations"


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, in code."""
    made = Config()
    made.set_main_option("script_location", str(script_location()))
    made.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(rev)s_%%(slug)s")
    made.attributes["connection"] = connection
    return made


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate up to a revision."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # several servers may begin at once
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
        command.upgrade(config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate down to a revision; ``base`` takes everything away."""
    with engine.begin() as connection:
        command.downgrade(config(connection), revision)


def current(connection: sa.Connection) -> str | None:
    """The revision a database is at; None for one that was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The revision that this version needs."""
    return ScriptDirectory.from_config(config()).get_current_head()
