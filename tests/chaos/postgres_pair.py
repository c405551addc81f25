"""A Postgres with a standby that follows it synchronously, and takes over: two real servers."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.common.postgres import accessible_binaries, run, set_owner
from tests.helpers.frozen_postgres import server_processes

USER = "relumine"
NAME = ".s.PGSQL.5432"
OPTIONS = "-c listen_addresses='' -c max_connections=100"


class PostgresServer:
    """One of the two servers; ``socket`` is the one it listens on."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.data = folder / "data"
        self._folder = folder
        self._binaries = binaries
        self.socket = folder / NAME
        self.url = sa.URL.create("postgresql+psycopg", USER, database="postgres", query={"host": str(folder)})
        folder.mkdir(mode=0o700)
        set_owner(folder)

    def initialize(self) -> None:
        """Create an empty server."""
        program = self._binaries / "initdb"
        run([program, "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"])

    def copy(self, primary: PostgresServer) -> None:
        """Create a standby of another server."""
        source = ["-h", primary.socket.parent, "-U", USER]
        run([self._binaries / "pg_basebackup", "-D", self.data, *source, "-X", "stream", "-R", "-c", "fast"])

    def start(self) -> None:
        """Start the server."""
        options = f"-k {self._folder} {OPTIONS}"
        self._control("-w", "-t", "60", "-l", str(self._folder / "log"), "-o", options, "start")

    def promote(self) -> None:
        """Make a standby take over."""
        self._control("-w", "-t", "60", "promote")

    def kill(self) -> None:
        """End all processes at once, as the loss of the host does."""
        for process in server_processes(self.url):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        """Stop the server."""
        self._control("-m", "immediate", "-w", "stop")

    def execute(self, *statements: str) -> None:
        """Execute statements outside of a transaction."""
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _control(self, *arguments: str) -> None:
        run([self._binaries / "pg_ctl", "-D", self.data, *arguments])


@contextmanager
def postgres_pair(database: str) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary with an empty database, and its standby. What was committed is on both."""
    folder = Path(tempfile.mkdtemp(prefix="relumine-pair-"))
    folder.chmod(0o755)
    binaries = accessible_binaries(folder)
    primary = PostgresServer(folder / "primary", binaries)
    standby = PostgresServer(folder / "standby", binaries)
    started = []
    try:
        primary.initialize()
        primary.start()
        started.append(primary)
        primary.execute(f"CREATE DATABASE {database}")
        standby.copy(primary)
        standby.start()
        started.append(standby)
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        yield primary, standby
    finally:
        for server in started:
            if (server.data / "postmaster.pid").exists() and server.socket.exists():
                _stop_quietly(server)
        shutil.rmtree(folder, ignore_errors=True)


def _stop_quietly(server: PostgresServer) -> None:
    try:
        server.stop()
    except SystemExit:  # it was killed
        return
