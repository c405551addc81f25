"""The command ``relumine-server``: serve, migrate, keys, replay, backup, doctor. Options win over the environment."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import sqlalchemy as sa
    import typer
    from alembic.util import CommandError
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError
except ImportError:  # installed without the extra
    sys.stderr.write("relumine-server: the server is not installed: pip install 'relumine[server]'\n")
    raise SystemExit(2) from None

from relumine_server import logs, serving
from relumine_server.api import problems
from relumine_server.api.keys import NewKey, made
from relumine_server.app import create_app
from relumine_server.credentials import Scope
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import opened
from relumine_server.detection.replay import replay as fold
from relumine_server.errors import FileInUse, ProblemError, UnknownDatabase
from relumine_server.settings import Settings
from relumine_server.storage import alerts, journal, keys, migrate, policies, runs, upkeep
from relumine_server.storage.store import Store, address
from relumine_server.webhooks import courier
from relumine_server.workers import Workers

cli = typer.Typer(help="Relumine's server.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
key_cli = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
cli.add_typer(key_cli, name="keys")

DatabaseUrl = Annotated[str | None, typer.Option(help="default: RELUMINE_DATABASE_URL, or sqlite:///relumine.db")]


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
    settings = _settings(
        host=host,
        port=port,
        database_url=database_url,
        workers=workers,
        insecure_no_auth=insecure_no_auth or None,
        courier=False if no_courier else None,
    )
    if settings.workers > 1 and _is_sqlite(settings):
        _fail("SQLite takes one process: --workers (RELUMINE_WORKERS) above 1 needs Postgres as RELUMINE_DATABASE_URL")
    has_keys = _has_keys(settings)
    if not (settings.is_local or settings.insecure_no_auth or has_keys):
        at = "" if database_url is None else f" --database-url '{_shown(database_url)}'"
        _fail(
            f"{settings.host} can be reached from other machines and there is no key yet: make one with "
            f"`relumine-server keys create --scope admin{at}`, listen on 127.0.0.1, "
            "or say --insecure-no-auth if the network is yours alone"
        )
    logs.to_stderr(settings.log_level, settings.log_format)
    with _database_trouble(settings):
        app = create_app(settings) if settings.workers == 1 else None
    asked = "off although there are keys" if has_keys else "not needed"
    access = "needed" if has_keys and not settings.insecure_no_auth else asked
    typer.echo(
        f"relumine-server: {settings.base_url} (database {_shown(settings.database_url)}, keys {access})", err=True
    )
    if app is not None:
        serving.serve(app, settings)
        return
    with _migrated(settings):
        pass
    raise typer.Exit(Workers(settings).run())


@cli.command("courier")
def send_deliveries(database_url: DatabaseUrl = None) -> None:
    """Send what the outbox holds, apart from the servers; several of these may share one Postgres."""
    settings = _settings(database_url=database_url)
    store = _open(settings)
    with _database_trouble(settings), store.read() as connection:
        if migrate.current(connection) != migrate.head():
            _fail("the database is not at the schema of this version: relumine-server migrate")
    logs.to_stderr(settings.log_level)
    typer.echo(f"relumine-server: courier (database {_shown(settings.database_url)})", err=True)
    courier.run_until_told(store, settings)
    store.close()


@cli.command("migrate")
def migrate_database(database_url: DatabaseUrl = None) -> None:
    """Bring the database to the schema of this version."""
    settings = _settings(database_url=database_url)
    store = _open(settings)
    with _database_trouble(settings):
        migrate.upgrade(store.writing_engine)
    with store.read() as connection:
        typer.echo(f"at {migrate.current(connection)}")
    store.close()


@key_cli.command("create")
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
        _fail(f"such a key cannot be made: {problems.places(error.errors())}")
    secret, row = made(asked.scope, asked.project, asked.name, now, asked.expires_at)
    with _migrated(_settings(database_url=database_url)) as store:
        store.write(lambda session: keys.insert(session, row))
    typer.echo(secret)
    typer.echo(
        f"relumine-server: {row.key_id} is made; it is shown this once. Servers need keys from now on.", err=True
    )


@key_cli.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """Show which keys there are; never a key itself."""
    with _migrated(_settings(database_url=database_url)) as store, store.read() as session:
        found = keys.page(session, project=None, after=None, limit=100_000)
    now = datetime.now(UTC)
    for row in found:
        used = "never used" if row.last_used_at is None else f"used {row.last_used_at:%Y-%m-%d %H:%M}"
        typer.echo(
            f"{row.key_id:<12} {row.scope:<6} {row.state(now):<8} {row.project or '*':<16} {used}  {row.name or ''}"
        )


@key_cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="as in the list")], database_url: DatabaseUrl = None) -> None:
    """Make a key worthless; servers know within two seconds."""
    with _migrated(_settings(database_url=database_url)) as store:
        if not store.write(lambda session: keys.revoke(session, key_id, datetime.now(UTC))):
            _fail("no such key in use")
    typer.echo(f"{key_id} is revoked")


@contextmanager
def _migrated(settings: Settings) -> Iterator[Store]:
    """The store at the schema of this version, for keys."""
    with _database_trouble(settings):
        try:
            store = Store.open(settings.database_url)
        except FileInUse as error:
            raise FileInUse(f"{error}; ask the server itself, which has /v1/keys, or stop it first") from error
        try:
            migrate.upgrade(store.writing_engine)
            yield store
        finally:
            store.close()


@cli.command("replay")
def replay_run(run_id: Annotated[str, typer.Argument(help="the run's id")], database_url: DatabaseUrl = None) -> None:
    """Fold a stored run again by its project's policy and print the findings; exit 1 where its alerts differ."""
    settings = _settings(database_url=database_url)
    store = _open(settings)
    try:
        with _database_trouble(settings), store.read() as connection:
            if (run := runs.find(connection, run_id)) is None:
                _fail(f"no run {run_id}")
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
        size = upkeep.backup(_settings(database_url=database_url).database_url, target)
    except (ValueError, OSError, sqlite3.Error) as error:
        _fail(f"no backup: {type(error).__name__}: {error}")
    typer.echo(f"{target}: {size:,} bytes, checked")


@cli.command("doctor")
def look_over(database_url: DatabaseUrl = None) -> None:
    """Look at version, file system, disk, schema and clock; exit 1 where something is wrong."""
    checks = upkeep.examine(_settings(database_url=database_url).database_url, datetime.now(UTC))
    for check in checks:
        typer.echo(f"{check.verdict:<8} {check.what:<12} {check.found}")
    raise typer.Exit(1 if any(check.verdict == "problem" for check in checks) else 0)


def _has_keys(settings: Settings) -> bool:
    """Whether the database knows any key; one that was never migrated does not, and is left as it is."""
    with _database_trouble(settings):
        url = address(settings.database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return False
        store = Store.open(settings.database_url)
        try:
            with store.engine.connect() as connection:
                return sa.inspect(connection).has_table("keys") and keys.exist(connection)
        finally:
            store.close()


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _fail(f"settings cannot be used: {problems.places(error.errors())}")


def _open(settings: Settings) -> Store:
    with _database_trouble(settings):
        return Store.open(settings.database_url)


@contextmanager
def _database_trouble(settings: Settings) -> Iterator[None]:
    """A database that cannot be opened or migrated ends the command with a sentence, not with a traceback."""
    try:
        yield
    except (FileInUse, UnknownDatabase) as error:
        _fail(str(error))
    except ImportError:
        _fail("Postgres needs its driver: pip install 'relumine[server,postgres]'")
    except ProblemError as error:
        _fail(error.detail if error.status == 409 else f"{_shown(settings.database_url)}: {error.detail}")
    except CommandError as error:
        _fail(f"{_shown(settings.database_url)} is not of this version: {error}")
    except (OSError, DBAPIError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        _fail(f"{_shown(settings.database_url)} cannot be used: {reason}")


def _is_sqlite(settings: Settings) -> bool:
    with _database_trouble(settings):
        return address(settings.database_url).get_backend_name() == "sqlite"


def _shown(database_url: str) -> str:
    return address(database_url).render_as_string(hide_password=True)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"relumine-server: {sentence}", err=True)
    raise typer.Exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    cli(args=arguments, prog_name="relumine-server")


if __name__ == "__main__":
    main()
