"""``relumine-server keys``: create, list, revoke; and the first key, which a server may make at its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from pydantic import ValidationError

from relumine_server.api import problems
from relumine_server.api.keys import NewKey, made
from relumine_server.command import DatabaseUrl, database_trouble, fail, settings_of
from relumine_server.credentials import Scope
from relumine_server.errors import FileInUse
from relumine_server.settings import Settings
from relumine_server.storage import keys, migrate
from relumine_server.storage.store import Store, address

cli = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


@cli.command("create")
def create_key(
    scope: Annotated[Scope, typer.Option(help="ingest: send uploads; read: look; admin: everything")],
    project: Annotated[str | None, typer.Option(help="bind it to this project; default: all projects")] = None,
    name: Annotated[str | None, typer.Option(help="what it is for")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="default: it does not expire")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print it, once."""
    now = datetime.now(UTC)
    expires_at = None if days is None else now + timedelta(days=days)
    try:
        asked = NewKey(scope=scope, project=project, name=name, expires_at=expires_at)
    except ValidationError as error:
        fail(f"such a key cannot be made: {problems.places(error.errors())}")
    secret, row = made(asked.scope, asked.project, asked.name, now, asked.expires_at)
    with migrated(settings_of(database_url=database_url)) as store:
        store.write(lambda session: keys.insert(session, row))
    typer.echo(secret)
    typer.echo(
        f"relumine-server: {row.key_id} is made; it is shown this once. Servers need keys from now on.", err=True
    )


@cli.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """Show which keys there are; never a key itself."""
    with migrated(settings_of(database_url=database_url)) as store, store.read() as session:
        found = keys.page(session, project=None, after=None, limit=100_000)
    now = datetime.now(UTC)
    for row in found:
        used = "never used" if row.last_used_at is None else f"used {row.last_used_at:%Y-%m-%d %H:%M}"
        typer.echo(
            f"{row.key_id:<12} {row.scope:<6} {row.state(now):<8} {row.project or '*':<16} {used}  {row.name or ''}"
        )


@cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="as in the list")], database_url: DatabaseUrl = None) -> None:
    """Make a key worthless; servers know within two seconds."""
    with migrated(settings_of(database_url=database_url)) as store:
        if not store.write(lambda session: keys.revoke(session, key_id, datetime.now(UTC))):
            fail("no such key in use")
    typer.echo(f"{key_id} is revoked")


def has_keys(settings: Settings) -> bool:
    """Whether the database knows any key; one that was never migrated does not, and is left as it is."""
    with database_trouble(settings):
        url = address(settings.database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return False
        store = Store.open(settings.database_url)
        try:
            with store.engine.connect() as connection:
                return sa.inspect(connection).has_table("keys") and keys.exist(connection)
        finally:
            store.close()


def first_key(settings: Settings) -> bool:
    """Make the first key where that was asked for and print it; whether there are keys now."""
    if not settings.first_key or settings.insecure_no_auth:
        return False
    secret, row = made("admin", None, "first key", datetime.now(UTC), None)
    with migrated(settings) as store:
        if store.write(lambda session: keys.insert_first(session, row)):  # a stored key: never one that does not hold
            typer.echo(f"relumine-server: the first key, an admin key, shown this once: {secret}")
    return True


@contextmanager
def migrated(settings: Settings) -> Iterator[Store]:
    """The store at the schema of this version, for keys."""
    with database_trouble(settings):
        try:
            store = Store.open(settings.database_url)
        except FileInUse as error:
            raise FileInUse(f"{error}; ask the server itself, which has /v1/keys, or stop it first") from error
        try:
            migrate.upgrade(store.writing_engine)
            yield store
        finally:
            store.close()
