"""The command ``relumine-server``: serve, migrate, replay, backup, doctor. Options win over the environment."""

from __future__ import annotations

import ipaddress
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import structlog
    import typer
    import uvicorn
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError
except ImportError:  # installed without the extra
    sys.stderr.write("relumine-server: the server is not installed: pip install 'relumine[server]'\n")
    raise SystemExit(2) from None

from relumine_server.app import create_app
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import replay as fold
from relumine_server.errors import FileInUse, ProblemError, UnknownDatabase
from relumine_server.settings import Settings
from relumine_server.storage import alerts, journal, migrate, policies, runs, upkeep
from relumine_server.storage.store import Store, address

cli = typer.Typer(help="Relumine's server.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DatabaseUrl = Annotated[str | None, typer.Option(help="default: RELUMINE_DATABASE_URL, or sqlite:///relumine.db")]


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="default: RELUMINE_HOST, or 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="default: RELUMINE_PORT, or 7358")] = None,
    database_url: DatabaseUrl = None,
    *,
    insecure_no_auth: Annotated[bool, typer.Option(help="Listen beyond this machine without keys.")] = False,
) -> None:
    """Migrate the database and serve the API and the page."""
    settings = _settings(host=host, port=port, database_url=database_url, insecure_no_auth=insecure_no_auth or None)
    if not is_loopback(settings.host) and not settings.insecure_no_auth:
        _fail(
            f"{settings.host} can be reached from other machines and there are no keys yet: "
            "listen on 127.0.0.1, or say --insecure-no-auth if the network is yours alone"
        )
    with _database_trouble(settings):
        app = create_app(settings)
    _log_to_stderr(settings.log_level)
    typer.echo(f"relumine-server: {settings.base_url} (database {_shown(settings.database_url)})", err=True)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=10)


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
            stored = {(a.layer_id, a.kind): a for a in alerts.of_run(connection, run_id, "")}
    finally:
        store.close()
    _, findings = fold(layers, records, policy)
    for finding in findings:
        where = finding.layer or "run"
        typer.echo(
            f"step {finding.step:>8,}  {finding.transition:<8}  {where:<24} {finding.kind:<15} "
            f"{finding.severity:<8} {finding.cause}"
        )
    same = _opened(findings) == {key: alert.opened_step for key, alert in stored.items()}
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


def _opened(findings: list[Finding]) -> dict[tuple[int, str], int]:
    """When each problem was first raised."""
    first: dict[tuple[int, str], int] = {}
    for finding in findings:
        if finding.transition == "raised":
            first.setdefault((finding.layer_id, finding.kind), finding.step)
    return first


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _log_to_stderr(level: str) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _settings(**given: Any) -> Settings:
    return Settings(**{name: value for name, value in given.items() if value is not None})


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
        _fail(f"{_shown(settings.database_url)}: {error.detail}")
    except CommandError as error:
        _fail(f"{_shown(settings.database_url)} is not of this version: {error}")
    except (OSError, DBAPIError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        _fail(f"{_shown(settings.database_url)} cannot be used: {reason}")


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
