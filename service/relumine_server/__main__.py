"""The command ``relumine-server``: serve, migrate, keys, replay, backup, doctor. Options win over the environment."""

from __future__ import annotations

import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

try:
    import sqlalchemy  # noqa: F401 - only asked whether it is there
    import typer
except ImportError:  # installed without the extra
    sys.stderr.write("relumine-server: the server is not installed: pip install 'relumine[server]'\n")
    raise SystemExit(2) from None

from relumine_server import key_commands, listening, logs, serving
from relumine_server.app import create_app
from relumine_server.command import (
    DatabaseUrl,
    database_trouble,
    fail,
    is_sqlite,
    listening_trouble,
    open_store,
    settings_of,
    shown,
)
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import opened
from relumine_server.detection.replay import replay as fold
from relumine_server.errors import UnknownDatabase
from relumine_server.storage import alerts, distribution, journal, migrate, policies, runs, upkeep
from relumine_server.webhooks import courier
from relumine_server.workers import Workers

cli = typer.Typer(help="Relumine's server.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(key_commands.cli, name="keys")


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="default: RELUMINE_HOST, or 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="default: RELUMINE_PORT, or 7358")] = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[int | None, typer.Option(help="processes on the port; default: RELUMINE_WORKERS, or 1")] = None,
    *,
    insecure_no_auth: Annotated[bool, typer.Option(help="Ask nobody for a key, on any address.")] = False,
    no_courier: Annotated[bool, typer.Option(help="Leave sending to relumine-server courier.")] = False,
) -> None:
    """Migrate the database and serve the API and the page."""
    settings = settings_of(
        host=host,
        port=port,
        database_url=database_url,
        workers=workers,
        insecure_no_auth=insecure_no_auth or None,
        courier=False if no_courier else None,
    )
    if settings.workers > 1 and is_sqlite(settings):
        fail("SQLite takes one process: --workers (RELUMINE_WORKERS) above 1 needs Postgres as RELUMINE_DATABASE_URL")
    with listening_trouble(settings):
        places = listening.places(settings.host, settings.port)
    is_closed = key_commands.has_keys(settings)
    if not (settings.is_local or settings.insecure_no_auth or is_closed or settings.first_key):
        at = "" if database_url is None else f" --database-url '{shown(database_url)}'"
        fail(
            f"{settings.host} can be reached from other machines and there is no key yet: make one with "
            f"`relumine-server keys create --scope admin{at}`, listen on 127.0.0.1, "
            "or say --insecure-no-auth if the network is yours alone"
        )
    with listening_trouble(settings):
        listening.try_out(places)
    is_closed = is_closed or key_commands.first_key(settings)
    logs.to_stderr(settings.log_level, settings.log_format)
    with database_trouble(settings):
        app = create_app(settings) if settings.workers == 1 else None
    asked = "off although there are keys" if is_closed else "not needed"
    access = "needed" if is_closed and not settings.insecure_no_auth else asked
    typer.echo(
        f"relumine-server: {settings.base_url} (database {shown(settings.database_url)}, keys {access})", err=True
    )
    if app is not None:
        serving.serve(app, settings)
        return
    with key_commands.migrated(settings):
        pass
    raise typer.Exit(Workers(settings).run())


@cli.command("courier")
def send_deliveries(database_url: DatabaseUrl = None) -> None:
    """Send what the outbox holds, apart from the servers; several of these may share one Postgres."""
    settings = settings_of(database_url=database_url)
    store = open_store(settings)
    with database_trouble(settings), store.read() as connection:
        if migrate.current(connection) != migrate.head():
            fail("the database is not at the schema of this version: relumine-server migrate")
    logs.to_stderr(settings.log_level)
    typer.echo(f"relumine-server: courier (database {shown(settings.database_url)})", err=True)
    courier.run_until_told(store, settings)
    store.close()


@cli.command("migrate")
def migrate_database(
    database_url: DatabaseUrl = None,
    *,
    distribute: Annotated[bool, typer.Option(help="Then spread the runs over the hosts of a Citus cluster.")] = False,
) -> None:
    """Bring the database to the schema of this version."""
    settings = settings_of(database_url=database_url)
    if distribute and is_sqlite(settings):
        fail("SQLite cannot be spread over several hosts: --distribute needs Postgres with Citus")
    store = open_store(settings)
    with database_trouble(settings):
        if distribute:  # refused before anything is changed
            distribution.require(store.writing_engine)
        migrate.upgrade(store.writing_engine)
        spread = distribution.distribute(store.writing_engine) if distribute else None
    with store.read() as connection:
        typer.echo(f"at {migrate.current(connection)}")
    if spread is not None:
        typer.echo(f"spread by run_id: {', '.join(spread) or 'nothing that was not before'}")
    store.close()


@cli.command("replay")
def replay_run(run_id: Annotated[str, typer.Argument(help="the run's id")], database_url: DatabaseUrl = None) -> None:
    """Fold a stored run again by its project's policy and print the findings; exit 1 where its alerts differ."""
    settings = settings_of(database_url=database_url)
    store = open_store(settings)
    try:
        with database_trouble(settings), store.read() as connection:
            if (run := runs.find(connection, run_id)) is None:
                fail(f"no run {run_id}")
            policy = policies.load(connection, run.project) or DEFAULT
            layers = runs.load_layers(connection, run_id)
            records = [row for _session, _seq, table in journal.tables(connection, run_id) for row in table]
            told = alerts.of_run(connection, run_id, "")
            stored = {(a.layer_id, a.kind): a for a in told if a.kind != "stalled"}  # which is the clock's
    finally:
        store.close()
    _, findings = fold(layers, records, policy)
    for finding in findings:
        where = finding.layer or "run"
        typer.echo(
            f"step {finding.step:>8,}  {finding.transition:<8}  {where:<24} {finding.kind:<15} "
            f"{finding.severity:<8} {finding.cause}"
        )
    same = opened(findings) == {key: alert.opened_step for key, alert in stored.items()}
    typer.echo(f"{len(records)} records, {len(findings)} findings, {'as' if same else 'NOT as'} stored")
    raise typer.Exit(0 if same else 1)


@cli.command("backup")
def back_up(
    target: Annotated[Path, typer.Argument(help="the file to write; must not exist")], database_url: DatabaseUrl = None
) -> None:
    """Copy a SQLite database, also while a server writes to it."""
    try:
        size = upkeep.backup(settings_of(database_url=database_url).database_url, target)
    except UnknownDatabase as error:
        fail(str(error))
    except (ValueError, OSError, sqlite3.Error) as error:
        fail(f"no backup: {type(error).__name__}: {error}")
    typer.echo(f"{target}: {size:,} bytes, checked")


@cli.command("doctor")
def look_over(database_url: DatabaseUrl = None) -> None:
    """Look at version, file system, disk, schema and clock; exit 1 where something is wrong."""
    settings = settings_of(database_url=database_url)
    with database_trouble(settings):
        checks = upkeep.examine(settings.database_url, datetime.now(UTC))
    for check in checks:
        typer.echo(f"{check.verdict:<8} {check.what:<12} {check.found}")
    raise typer.Exit(1 if any(check.verdict == "problem" for check in checks) else 0)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    cli(args=arguments, prog_name="relumine-server")


if __name__ == "__main__":
    main()
