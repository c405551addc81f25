"""What the commands share: settings, an open database, and sentences instead of tracebacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from relumine_server.api import problems
from relumine_server.errors import FileInUse, NotDistributable, ProblemError, UnknownDatabase
from relumine_server.settings import Settings
from relumine_server.storage.store import Store, address

DatabaseUrl = Annotated[str | None, typer.Option(help="default: RELUMINE_DATABASE_URL, or sqlite:///relumine.db")]


def settings_of(**given: Any) -> Settings:
    """The settings; what is None here is read from the environment."""
    asked = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**asked)
    except ValidationError as error:
        said = [f"{_variable(str(one['loc'][0]), asked)}: {problems.message(one)}" for one in error.errors()]
        fail(f"settings cannot be used: {'; '.join(said)}")


def _variable(name: str, asked: Collection[str]) -> str:
    """What a person calls a setting: the option where it was given, else the variable."""
    return f"--{name.replace('_', '-')}" if name in asked else f"RELUMINE_{name.upper()}"


def open_store(settings: Settings) -> Store:
    """The database, open."""
    with database_trouble(settings):
        return Store.open(settings.database_url)


@contextmanager
def database_trouble(settings: Settings) -> Iterator[None]:
    """A database that cannot be opened or migrated ends the command with a sentence, not with a traceback."""
    try:
        yield
    except (FileInUse, NotDistributable, UnknownDatabase) as error:
        fail(str(error))
    except ImportError:
        fail("Postgres needs its driver: pip install 'relumine[server,postgres]'")
    except ProblemError as error:
        fail(error.detail if error.status == 409 else f"{shown(settings.database_url)}: {error.detail}")
    except CommandError as error:
        fail(f"{shown(settings.database_url)} is not of this version: {error}")
    except (OSError, DBAPIError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        fail(f"{shown(settings.database_url)} cannot be used: {reason}")


@contextmanager
def listening_trouble(settings: Settings) -> Iterator[None]:
    """An address that nobody can listen on ends the command with a sentence."""
    try:
        yield
    except OSError as error:
        where = f"{settings.host[:60]}, port {settings.port}"
        fail(f"cannot listen on {where} (RELUMINE_HOST, RELUMINE_PORT): {error.strerror}")


def is_sqlite(settings: Settings) -> bool:
    """Whether the database is a file that takes one process."""
    with database_trouble(settings):
        return address(settings.database_url).get_backend_name() == "sqlite"


def shown(database_url: str) -> str:
    """An address without its password."""
    return address(database_url).render_as_string(hide_password=True)


def fail(sentence: str) -> NoReturn:
    """End the command with a sentence and exit code 2."""
    typer.echo(f"relumine-server: {sentence}", err=True)
    raise typer.Exit(2)
