"""The command ``relumine-server``. Options win over environment variables.

Every command imports what it needs when it runs, so that ``--help`` does not load the whole server.
"""

from __future__ import annotations

import importlib.util
import socket
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if importlib.util.find_spec("sqlalchemy") is None or importlib.util.find_spec("typer") is None:
    # Installed without the extra.
    sys.stderr.write("relumine-server: the server is not installed: pip install 'relumine[server]'\n")
    raise SystemExit(2)

import typer

from relumine import __version__
from relumine_server.cli import keys
from relumine_server.cli.common import (
    DatabaseUrl,
    clear_address_errors,
    clear_database_errors,
    fail,
    is_sqlite,
    load_settings,
    migrated,
    open_database,
    say,
)
from relumine_server.cli.progress import progress

if TYPE_CHECKING:
    from relumine_server.settings import Settings

cli = typer.Typer(
    help="Relumine's server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich takes longer to load than everything else
)
cli.add_typer(keys.cli, name="keys")


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        say(f"relumine-server {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Relumine's server."""


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="default: RELUMINE_HOST, or 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0: any free port; default: RELUMINE_PORT, or 7358")] = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[int | None, typer.Option(help="processes on the port; default: RELUMINE_WORKERS, or 1")] = None,
    *,
    insecure_no_auth: Annotated[bool, typer.Option(help="Require no key, on any address.")] = False,
    no_dispatcher: Annotated[bool, typer.Option(help="Leave sending to relumine-server worker.")] = False,
) -> None:
    """Migrate the database and serve the API and the dashboard."""
    settings = load_settings(
        host=host,
        port=port,
        database_url=database_url,
        workers=workers,
        insecure_no_auth=insecure_no_auth or None,
        dispatcher=False if no_dispatcher else None,
    )
    if settings.workers > 1 and is_sqlite(settings):
        fail("SQLite takes one process: --workers (RELUMINE_WORKERS) above 1 needs Postgres as RELUMINE_DATABASE_URL")
    _bind_and_serve(settings, database_url)


def _bind_and_serve(settings: Settings, database_url: str | None) -> None:
    """Bind the sockets first, so that an address in use is reported before anything is created."""
    from relumine_server import log_config
    from relumine_server.server import sockets

    with clear_address_errors(settings):
        listeners = sockets.bind(settings.host, settings.port)
    try:
        settings = settings.model_copy(update={"port": sockets.port_of(listeners)})
        log_config.to_stderr(settings.log_level, settings.log_format)  # opening the database may log already
        has_keys = keys.has_keys(settings)
        _require_protection(settings, database_url, has_keys=has_keys)
        has_keys = has_keys or keys.create_bootstrap_key(settings)
        _run_server(settings, listeners, has_keys=has_keys)
    finally:
        sockets.close(listeners)


def _require_protection(settings: Settings, database_url: str | None, *, has_keys: bool) -> None:
    """End the command if other machines can reach the server and nothing protects it."""
    from relumine_server.db.database import without_password

    if settings.is_local or settings.insecure_no_auth or settings.bootstrap_key or has_keys:
        return
    option = "" if database_url is None else f" --database-url '{without_password(database_url)}'"
    fail(
        f"{settings.host} can be reached from other machines and there is no key yet: create one with "
        f"`relumine-server keys create --scope admin{option}`, listen on 127.0.0.1, "
        "or pass --insecure-no-auth if the network is yours alone"
    )


def _run_server(settings: Settings, listeners: list[socket.socket], *, has_keys: bool) -> None:
    from relumine_server.app import create_app
    from relumine_server.db.database import without_password
    from relumine_server.server import run, sockets
    from relumine_server.server.supervisor import Supervisor

    with clear_database_errors(settings):
        app = create_app(settings) if settings.workers == 1 else None
    database = without_password(settings.database_url)
    say(
        f"relumine-server: {settings.base_url} (database {database}, keys {_key_policy(settings, has_keys=has_keys)})",
        err=True,
    )
    if app is None:
        with migrated(settings):
            pass
    with clear_address_errors(settings):
        sockets.listen(listeners)
    if app is not None:
        run.serve(app, settings, listeners)
        return
    raise typer.Exit(Supervisor(settings, listeners).run())


def _key_policy(settings: Settings, *, has_keys: bool) -> str:
    if not has_keys:
        return "not needed"
    return "off although there are keys" if settings.insecure_no_auth else "needed"


@cli.command()
def worker(database_url: DatabaseUrl = None) -> None:
    """Send notifications from a process of its own; several of these may share one Postgres database."""
    from relumine_server.db import migrations
    from relumine_server.db.database import without_password
    from relumine_server.webhooks import dispatcher

    settings = load_settings(database_url=database_url)
    with open_database(settings) as database:
        with database.read() as connection:
            if migrations.current(connection) != migrations.head():
                fail("the database is not at the schema of this version: relumine-server migrate")
        say(f"relumine-server: worker (database {without_password(settings.database_url)})", err=True)
        dispatcher.run_until_signalled(database, settings)


@cli.command()
def migrate(
    database_url: DatabaseUrl = None,
    *,
    distribute: Annotated[
        bool, typer.Option(help="Then distribute the runs over the hosts of a Citus cluster.")
    ] = False,
) -> None:
    """Bring the database to the schema of this version."""
    from relumine_server.db import citus, migrations

    settings = load_settings(database_url=database_url)
    if distribute and is_sqlite(settings):
        fail("SQLite cannot be distributed over several hosts: --distribute needs Postgres with Citus")
    distributed = None
    with open_database(settings) as database:
        if distribute:  # refused before anything is changed
            citus.require(database.writing_engine)
        with progress("migrating the database"):
            migrations.upgrade(database.writing_engine)
        if distribute:
            with progress("distributing the runs"):
                distributed = citus.distribute(database.writing_engine)
        with database.read() as connection:
            say(f"at {migrations.current(connection)}")
    if distributed is not None:
        say(f"distributed by run_id: {', '.join(distributed) or 'no further table'}")


@cli.command()
def replay(run_id: Annotated[str, typer.Argument(help="the run's id")], database_url: DatabaseUrl = None) -> None:
    """Run the detector over a stored run again and print the findings; exit 1 if its alerts differ."""
    from relumine_server.cli.replay import replay_stored_run

    settings = load_settings(database_url=database_url)
    with open_database(settings) as database, database.read() as connection:
        result = replay_stored_run(connection, run_id)
    if result is None:
        fail(f"no run {run_id}")
    for line in result.lines:
        say(line)
    raise typer.Exit(0 if result.matches else 1)


@cli.command()
def backup(
    target: Annotated[Path, typer.Argument(help="the file to write; must not exist")], database_url: DatabaseUrl = None
) -> None:
    """Copy a SQLite database, even while a server writes to it."""
    from relumine_server.errors import UnknownDatabaseError
    from relumine_server.maintenance.backup import backup as copy_database

    try:
        database_to_copy = load_settings(database_url=database_url).database_url
        with progress("copying and checking the database"):
            size = copy_database(database_to_copy, target)
    except UnknownDatabaseError as error:
        fail(str(error))
    except (ValueError, OSError, sqlite3.Error) as error:
        fail(f"no backup: {type(error).__name__}: {error}")
    say(f"{target}: {size:,} bytes, checked")


@cli.command()
def doctor(database_url: DatabaseUrl = None) -> None:
    """Check version, file system, disk, schema and clock; exit 1 if something is wrong."""
    from relumine_server.maintenance.doctor import examine

    settings = load_settings(database_url=database_url)
    with clear_database_errors(settings):
        checks = examine(settings.database_url, datetime.now(UTC))
    for check in checks:
        say(f"{check.status:<8} {check.name:<12} {check.detail}")
    raise typer.Exit(1 if any(check.status == "problem" for check in checks) else 0)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    cli(args=arguments, prog_name="relumine-server")
