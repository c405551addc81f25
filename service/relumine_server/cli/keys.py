"""``relumine-server keys``: create, list and revoke API keys; and the bootstrap key that a server creates."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relumine.schemas.printable import printable
from relumine.schemas.scope import Scope
from relumine_server.cli.common import (
    DatabaseUrl,
    clear_database_errors,
    database_address,
    fail,
    load_settings,
    migrated,
    reading,
    require_file,
    require_revision,
    say,
    sqlite_file,
)
from relumine_server.cli.group import CommandGroup

if TYPE_CHECKING:
    from relumine_server.api.routes.keys import NewKey
    from relumine_server.auth.api_keys import KeyRow
    from relumine_server.db.database import Database
    from relumine_server.settings import Settings

SCOPE_HELP = (
    "ingest: send uploads; read: read everything except webhooks and keys; "
    "write: read, and acknowledge, resolve and silence alerts; admin: everything"
)
HEADINGS = ("KEY", "SCOPE", "STATE", "PROJECT", "LAST USED", "NAME")

cli = typer.Typer(
    cls=CommandGroup,
    help="Create, list and revoke API keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@cli.command("create")
def create_key(
    scope: Annotated[Scope, typer.Option(help=SCOPE_HELP)],
    project: Annotated[str | None, typer.Option(help="limit the key to this project (default: all projects)")] = None,
    name: Annotated[str | None, typer.Option(help="a note on what the key is for")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="days until the key expires (default: never)")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and print it. It is not shown again."""
    from pydantic import ValidationError

    from relumine_server import validation_messages
    from relumine_server.api.routes.keys import NewKey

    now = datetime.now(UTC)
    expires_at = None if days is None else now + timedelta(days=days)
    try:
        request = NewKey(scope=scope, project=project, name=name, expires_at=expires_at)
    except ValidationError as error:
        fail(f"this key cannot be created: {validation_messages.describe_errors(error.errors())}")
    _store(request, load_settings(database_url=database_url), now)


def _store(request: NewKey, settings: Settings, now: datetime) -> None:
    from relumine_server.auth import repository as auth_repository
    from relumine_server.auth.api_keys import new_key

    secret, row = new_key(request.scope, request.project, request.name, now=now, expires_at=request.expires_at)
    body = shlex.quote(request.model_dump_json(exclude_none=True))
    asking = f"POST {settings.base_url}/v1/keys -H 'content-type: application/json' -d {body}"
    with _writing(settings, asking) as database:
        database.write(lambda connection: auth_repository.insert_key(connection, row))
    say(secret)
    say(
        f"relumine-server: created {row.key_id}. Copy it now; it will not be shown again. "
        "The server requires an API key from now on.",
        err=True,
    )


@cli.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """List the keys, without their secrets."""
    rows = _stored_keys(database_address(database_url))
    if not rows:
        say("No API keys. `relumine-server keys create --scope admin` creates the first.", err=True)
        return
    now = datetime.now(UTC)
    say(_line(HEADINGS))
    for row in rows:
        used = "never" if row.last_used_at is None else f"{row.last_used_at:%Y-%m-%d %H:%M}"
        say(_line((row.key_id, row.scope, row.state(now), printable(row.project or "*"), used, row.name or "")))


def _stored_keys(database_url: str) -> list[KeyRow]:
    require_file(database_url)
    file = sqlite_file(database_url)
    if file is None:
        return _keys_on_postgres(database_url)
    from relumine_server.auth import stored_keys
    from relumine_server.db import revisions, sqlite_snapshot

    with clear_database_errors(database_url), sqlite_snapshot.snapshot(file) as connection:
        require_revision(sqlite_snapshot.revision(connection), revisions.head(revisions.script_location()))
        return stored_keys.all_keys(connection)


def _keys_on_postgres(database_url: str) -> list[KeyRow]:
    from relumine_server.auth import repository as auth_repository

    with reading(load_settings(database_url=database_url)) as connection:
        return auth_repository.page_keys(connection, project=None, position=None, limit=100_000)


def _line(cells: Sequence[str]) -> str:
    key_id, scope, state, project, used, name = cells
    return f"{key_id:<12}  {scope:<6}  {state:<7}  {project:<16}  {used:<16}  {name}".rstrip()


@cli.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="the id of the key, as `keys list` prints it")],
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key. Servers refuse it within two seconds."""
    from relumine_server.auth import repository as auth_repository
    from relumine_server.clock import utc_now

    settings = load_settings(database_url=database_url)
    require_file(settings.database_url)
    with _writing(settings, f"DELETE {settings.base_url}/v1/keys/{key_id}") as database:
        if not database.write(lambda connection: auth_repository.revoke(connection, key_id, utc_now)):
            fail(f"there is no key {key_id} in use; `relumine-server keys list` lists all keys")
    say(f"revoked {key_id}")


@contextmanager
def _writing(settings: Settings, request: str) -> Iterator[Database]:
    """Open the database to change keys. Where a server has the SQLite file, say how to ask that server."""
    curl = f'curl -X {request} -H "Authorization: Bearer $RELUMINE_API_KEY"'
    with migrated(settings, in_use_hint=f"ask that server, with an admin key if it requires one: {curl}") as database:
        yield database


def has_keys(settings: Settings) -> bool:
    """Return True if the database has any key. A database that was never migrated has none, and stays as it is."""
    import sqlalchemy as sa

    from relumine_server.auth import repository as auth_repository
    from relumine_server.db.database import Database, parse_url

    with clear_database_errors(settings.database_url):
        url = parse_url(settings.database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return False
        with closing(Database.open(settings.database_url)) as database, database.engine.connect() as connection:
            return sa.inspect(connection).has_table("api_keys") and auth_repository.any_key(connection)


def create_bootstrap_key(settings: Settings) -> bool:
    """Create the first key if the settings ask for one, and print it; return True if there are keys now."""
    from relumine_server.auth import repository as auth_repository
    from relumine_server.auth.api_keys import new_key

    if not settings.bootstrap_key or settings.insecure_no_auth:
        return False
    secret, row = new_key("admin", None, "bootstrap key", now=datetime.now(UTC), expires_at=None)
    with migrated(settings) as database:
        # Printed after it is stored: never a key that does not work.
        if database.write(lambda connection: auth_repository.insert_first_key(connection, row)):
            say(f"relumine-server: the first key, an admin key, not shown again: {secret}")
    return True
