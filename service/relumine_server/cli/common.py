"""Parts shared by the commands: settings, an open database, and one sentence instead of a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from relumine.schemas.printable import printable
from relumine_server import database_url as database_urls
from relumine_server import validation_messages
from relumine_server.cli.progress import progress
from relumine_server.errors import FileInUseError, NotDistributableError, ProblemError, UnknownDatabaseError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from relumine_server.db.database import Database
    from relumine_server.settings import Settings

DatabaseUrl = Annotated[
    str | None, typer.Option(help="the database (default: RELUMINE_DATABASE_URL, or sqlite:///relumine.db)")
]


def load_settings(**options: Any) -> Settings:
    """Return the settings; an option that is None is read from the environment."""
    from pydantic import ValidationError

    from relumine_server.settings import Settings

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        sentences = []
        for detail in error.errors():
            name = _name_of(str(detail["loc"][0]), given)
            sentences.append(f"{name}: {validation_messages.message(detail)}")
        fail(f"settings cannot be used: {'; '.join(sentences)}")


def database_address(option: str | None) -> str:
    """Return the URL of the database: of the option, of the environment, or the default.

    Commands that only look ask for this alone: the other settings take longer to load than the answer.
    """
    return database_urls.from_environment() if option is None else option


def _name_of(setting: str, options: Collection[str]) -> str:
    """Return the name that the user knows a setting by: the option if it was given, else the variable."""
    return f"--{setting.replace('_', '-')}" if setting in options else f"RELUMINE_{setting.upper()}"


def sqlite_file(database_url: str) -> Path | None:
    """Return the file of a SQLite database; None for Postgres."""
    from relumine_server.maintenance.doctor import sqlite_path

    with clear_database_errors(database_url):
        return sqlite_path(database_url)


def require_file(database_url: str) -> None:
    """End the command if the SQLite file is missing, rather than create an empty one in a wrong folder."""
    file = sqlite_file(database_url)
    if file is not None and not file.is_file():
        fail(
            f"there is no database {file}: run the command in the folder of the server, "
            "or name the database with --database-url or RELUMINE_DATABASE_URL"
        )


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the database of the settings, and close it in the end. End the command with one sentence if that fails."""
    from relumine_server import log_config
    from relumine_server.db.database import Database

    log_config.to_stderr(settings.log_level, settings.log_format)  # standard output is for the result
    with clear_database_errors(settings.database_url), closing(Database.open(settings.database_url)) as database:
        yield database


@contextmanager
def migrated(settings: Settings, in_use_hint: str = "stop it first") -> Iterator[Database]:
    """Open the database and migrate it. ``in_use_hint`` says what to do where another process has the SQLite file."""
    from relumine_server import log_config
    from relumine_server.db import migrations
    from relumine_server.db.database import Database

    log_config.to_stderr(settings.log_level, settings.log_format)  # standard output is for the result
    with clear_database_errors(settings.database_url):
        try:
            database = Database.open(settings.database_url)
        except FileInUseError as error:
            raise FileInUseError(f"{error}; {in_use_hint}") from error
        with closing(database):
            with progress("migrating the database"):
                migrations.upgrade(database.writing_engine)
            yield database


@contextmanager
def reading(settings: Settings) -> Iterator[sa.Connection]:
    """Open a transaction that only reads, also while a server runs on the SQLite file."""
    from relumine_server import log_config
    from relumine_server.db.sqlite_reading import read_only

    require_file(settings.database_url)
    file = sqlite_file(settings.database_url)
    if file is None:
        with open_database(settings) as database, database.read() as connection:
            require_schema(connection)
            yield connection
        return
    log_config.to_stderr(settings.log_level, settings.log_format)  # standard output is for the result
    with clear_database_errors(settings.database_url), read_only(file) as connection:
        require_schema(connection)
        yield connection


def require_schema(connection: sa.Connection) -> None:
    """End the command unless the database is at the schema of this version."""
    from relumine_server.db import migrations

    require_revision(migrations.current(connection), migrations.head())


def require_revision(current: str | None, needed: str | None) -> None:
    """End the command unless the revision of the schema is the one that this version needs."""
    if current != needed:
        fail(f"the database is not of this version (schema {current}): run `relumine-server migrate`")


@contextmanager
def clear_database_errors(database_url: str) -> Iterator[None]:
    """End the command with one sentence if the database cannot be opened or migrated."""
    try:
        yield
    except typer.Exit:
        raise
    except (FileInUseError, NotDistributableError, UnknownDatabaseError) as error:
        fail(str(error))
    except ImportError:
        fail("Postgres needs its driver: pip install 'relumine[server,postgres]'")
    except Exception as error:
        sentence = _database_sentence(database_url, error)
        if sentence is None:
            raise
        fail(sentence)


def _database_sentence(database_url: str, error: Exception) -> str | None:
    """Say what is wrong with the database; None for an error of another kind."""
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    from relumine_server.db.database import without_password

    database = without_password(database_url)
    if isinstance(error, ProblemError):
        return error.detail if error.status == 409 else f"{database}: {error.detail}"
    if isinstance(error, CommandError):
        return f"{database} is not of this version: {error}"
    if isinstance(error, OSError | sqlite3.Error | DBAPIError):
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return f"{database} cannot be used: {reason}"
    return None


@contextmanager
def clear_address_errors(settings: Settings) -> Iterator[None]:
    """End the command with one sentence if nothing can listen on the address."""
    try:
        yield
    except OSError as error:
        address = f"{settings.host[:60]}, port {settings.port}"
        fail(f"cannot listen on {address} (RELUMINE_HOST, RELUMINE_PORT): {error.strerror}")


def is_sqlite(settings: Settings) -> bool:
    """Return True if the database is a SQLite file, which takes one process."""
    return sqlite_file(settings.database_url) is not None


def say(line: str, *, err: bool = False) -> None:
    """Print a line. Many hold what others sent (names of keys, layers, projects), which must not steer a terminal."""
    typer.echo(printable(line), err=err)


def fail(sentence: str) -> NoReturn:
    """End the command with a sentence and exit code 2."""
    say(f"relumine-server: {sentence}", err=True)
    raise typer.Exit(2)
