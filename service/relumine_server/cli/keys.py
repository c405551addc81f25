"""``relumine-server keys``: create, list and revoke API keys; and the bootstrap key that a server creates."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relumine.schemas.key import Scope
from relumine.schemas.printable import printable
from relumine_server.auth.api_keys import new_key
from relumine_server.cli.common import DatabaseUrl, clear_database_errors, fail, load_settings, migrated, say

if TYPE_CHECKING:
    from relumine_server.settings import Settings

SCOPE_HELP = (
    "ingest: send uploads; read: read all but webhooks and keys; write: read, acknowledge, resolve, silence; "
    "admin: everything"
)

cli = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True, rich_markup_mode=None)


@cli.command("create")
def create_key(
    scope: Annotated[Scope, typer.Option(help=SCOPE_HELP)],
    project: Annotated[str | None, typer.Option(help="bind it to this project; default: all projects")] = None,
    name: Annotated[str | None, typer.Option(help="what it is for")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="default: it does not expire")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and print it, once."""
    from pydantic import ValidationError

    from relumine_server import validation_messages
    from relumine_server.api.routes.keys import NewKey
    from relumine_server.auth import repository as auth_repository

    now = datetime.now(UTC)
    expires_at = None if days is None else now + timedelta(days=days)
    try:
        request = NewKey(scope=scope, project=project, name=name, expires_at=expires_at)
    except ValidationError as error:
        fail(f"such a key cannot be created: {validation_messages.describe_errors(error.errors())}")
    secret, row = new_key(request.scope, request.project, request.name, now=now, expires_at=request.expires_at)
    with migrated(load_settings(database_url=database_url)) as database:
        database.write(lambda connection: auth_repository.insert_key(connection, row))
    say(secret)
    say(f"relumine-server: created {row.key_id}; it is not shown again. Servers require keys from now on.", err=True)


@cli.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """List the keys, without their secrets."""
    from relumine_server.auth import repository as auth_repository

    with migrated(load_settings(database_url=database_url)) as database, database.read() as connection:
        rows = auth_repository.page_keys(connection, project=None, position=None, limit=100_000)
    now = datetime.now(UTC)
    for row in rows:
        used = "never used" if row.last_used_at is None else f"used {row.last_used_at:%Y-%m-%d %H:%M}"
        project = printable(row.project or "*")
        say(f"{row.key_id:<12} {row.scope:<6} {row.state(now):<8} {project:<16} {used}  {row.name or ''}")


@cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="as in the list")], database_url: DatabaseUrl = None) -> None:
    """Revoke a key; servers refuse it within two seconds."""
    from relumine_server.auth import repository as auth_repository
    from relumine_server.clock import utc_now

    with migrated(load_settings(database_url=database_url)) as database:
        if not database.write(lambda connection: auth_repository.revoke(connection, key_id, utc_now)):
            fail("no such key in use")
    say(f"revoked {key_id}")


def has_keys(settings: Settings) -> bool:
    """Return True if the database has any key. A database that was never migrated has none, and stays as it is."""
    import sqlalchemy as sa

    from relumine_server.auth import repository as auth_repository
    from relumine_server.db.database import Database, parse_url

    with clear_database_errors(settings):
        url = parse_url(settings.database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return False
        with closing(Database.open(settings.database_url)) as database, database.engine.connect() as connection:
            return sa.inspect(connection).has_table("api_keys") and auth_repository.any_key(connection)


def create_bootstrap_key(settings: Settings) -> bool:
    """Create the first key if the settings ask for one, and print it; return True if there are keys now."""
    from relumine_server.auth import repository as auth_repository

    if not settings.bootstrap_key or settings.insecure_no_auth:
        return False
    secret, row = new_key("admin", None, "bootstrap key", now=datetime.now(UTC), expires_at=None)
    with migrated(settings) as database:
        # Printed after it is stored: never a key that does not work.
        if database.write(lambda connection: auth_repository.insert_first_key(connection, row)):
            say(f"relumine-server: the first key, an admin key, not shown again: {secret}")
    return True
