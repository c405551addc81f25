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
from typing import TYPE_CHECKING, Annotated, Any

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
    database_address,
    fail,
    is_sqlite,
    load_settings,
    migrated,
    open_database,
    reading,
    require_file,
    require_schema,
    say,
)
from relumine_server.cli.group import CommandGroup
from relumine_server.cli.progress import progress

if TYPE_CHECKING:
    from relumine_server.settings import Settings


class _Root(CommandGroup):
    """The command without a subcommand, with ``--version``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the version if it is asked for."""
        if args[:1] == ["--version"]:
            say(f"relumine-server {__version__}")
            ctx.exit()
        return super().parse_args(ctx, args)

    def options(self) -> list[tuple[str, str]]:
        """Return the options and what they do."""
        return [("--version", "Print the version and exit."), *super().options()]


cli = typer.Typer(
    cls=_Root,
    help="Run and maintain a Relumine server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich takes longer to load than everything else
)
cli.add_typer(keys.cli, name="keys")


@cli.command(short_help="Start the server: the API and the dashboard.")
def serve(
    host: Annotated[str | None, typer.Option(help="address (default: RELUMINE_HOST, or 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(help="port, 0 for any free one (default: RELUMINE_PORT, or 7358)")] = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[int | None, typer.Option(help="server processes (default: RELUMINE_WORKERS, or 1)")] = None,
    *,
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="require no API key, whatever the address")
    ] = False,
    no_dispatcher: Annotated[
        bool, typer.Option("--no-dispatcher", help="leave webhooks to `relumine-server worker`")
    ] = False,
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
        fail("SQLite allows one server process: --workers (RELUMINE_WORKERS) above 1 needs Postgres")
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
        "or pass --insecure-no-auth if everyone on the network may use the server"
    )


def _run_server(settings: Settings, listeners: list[socket.socket], *, has_keys: bool) -> None:
    from relumine_server.app import create_app
    from relumine_server.db.database import without_password
    from relumine_server.server import run, sockets
    from relumine_server.server.supervisor import Supervisor

    with clear_database_errors(settings.database_url):
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


@cli.command(short_help="Deliver webhooks from a process of its own.")
def worker(database_url: DatabaseUrl = None) -> None:
    """Run a standalone webhook delivery worker (Postgres; run as many as you need)."""
    from relumine_server.db.database import without_password
    from relumine_server.webhooks import dispatcher

    settings = load_settings(database_url=database_url)
    require_file(settings.database_url)
    with open_database(settings) as database:
        with database.read() as connection:
            require_schema(connection)
        say(f"relumine-server: worker (database {without_password(settings.database_url)})", err=True)
        dispatcher.run_until_signalled(database, settings)


@cli.command(short_help="Migrate the database to this version.")
def migrate(
    database_url: DatabaseUrl = None,
    *,
    distribute: Annotated[
        bool, typer.Option("--distribute", help="then distribute the runs over the nodes of a Citus cluster")
    ] = False,
) -> None:
    """Migrate the database to the schema of this version."""
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


@cli.command(short_help="Re-run detection on a stored run.")
def replay(run_id: Annotated[str, typer.Argument(help="the id of the run")], database_url: DatabaseUrl = None) -> None:
    """Re-run detection on a stored run and compare with its recorded alerts (exit 1 if they differ)."""
    from relumine_server.cli.replay import replay_stored_run
    from relumine_server.db.database import without_password

    settings = load_settings(database_url=database_url)
    with reading(settings) as connection:
        result = replay_stored_run(connection, run_id)
    if result is None:
        fail(f"there is no run {run_id} in {without_password(settings.database_url)}")
    for line in result.lines:
        say(line)
    raise typer.Exit(0 if result.matches else 1)


@cli.command(short_help="Back up a SQLite database.")
def backup(
    target: Annotated[Path, typer.Argument(help="the file to write; it must not exist")],
    database_url: DatabaseUrl = None,
) -> None:
    """Back up a SQLite database, also while a server writes to it."""
    from relumine_server.errors import UnknownDatabaseError
    from relumine_server.maintenance.backup import backup as copy_database

    address = database_address(database_url)
    require_file(address)
    try:
        with progress("copying and checking the database"):
            size = copy_database(address, target)
    except UnknownDatabaseError as error:
        fail(str(error))
    except (ValueError, OSError, sqlite3.Error) as error:
        fail(f"no backup was made: {_reason(error, target)}")
    say(f"{target}: {size:,} bytes, checked")


def _reason(error: Exception, target: Path) -> str:
    if isinstance(error, FileExistsError):
        return f"{target} exists already"
    if isinstance(error, OSError):
        return f"{error.filename or target}: {error.strerror or error}"
    return str(error)


@cli.command(short_help="Check the database and its surroundings.")
def doctor(database_url: DatabaseUrl = None) -> None:
    """Check the version, file system, disk, schema and clock (exit 1 if something is wrong)."""
    from relumine_server.maintenance.doctor import examine

    address = database_address(database_url)
    with clear_database_errors(address):
        checks = examine(address, datetime.now(UTC))
    for check in checks:
        say(f"{check.status:<8} {check.name:<12} {check.detail}")
    raise typer.Exit(1 if any(check.status == "problem" for check in checks) else 0)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    cli(args=arguments, prog_name="relumine-server")
