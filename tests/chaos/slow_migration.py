"""Three servers start on one Postgres while a migration takes a minute: each waits for it, and each serves.

    python -m tests.chaos.slow_migration [--seconds 60] [--servers 3]

Prints for each server when it became ready and how often it logged that it waits. One statement of the migration takes
twice as long as any statement of a request may.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import sqlalchemy as sa

import relumine_server
from benchmarks.common.postgres import running
from benchmarks.common.server_process import free_port
from relumine_server.db import migrations
from tests.helpers import slow_migration

WAITING = "waiting for another process that migrates the database"


def start(database_url: str, package: Path, log: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a server from a copy of the package whose newest migration is slow."""
    settings = {"RELUMINE_DATABASE_URL": database_url, "RELUMINE_PORT": str(port)}
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "relumine_server", "serve"],
            env={**os.environ, **settings, "PYTHONPATH": path},
            cwd=package,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_until_ready(port: int, timeout_s: float) -> bool:
    """Return True once a server is ready."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return True
        except httpx.HTTPError:
            time.sleep(0.2)  # between two requests to a starting server
    return False


def report(seconds: float, servers: int) -> bool:
    """Start the servers, print what became of them, and return whether each one serves."""
    with running() as cluster, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database_url = cluster.new_database()
        package = folder / "relumine_server"
        shutil.copytree(Path(relumine_server.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        slow_migration.copy_with_slow_revision(package / "_migrations", seconds)
        ports = [free_port() for _ in range(servers)]
        logs = [folder / f"{port}.log" for port in ports]
        began_at = time.monotonic()
        processes = [start(database_url, folder, log, port) for log, port in zip(logs, ports, strict=True)]
        try:
            results = [wait_until_ready(port, seconds + 120) for port in ports]
            ready_s = time.monotonic() - began_at
        finally:
            for process in processes:
                process.terminate()
                process.wait(60)
        waits = [log.read_text().count(WAITING) for log in logs]
        engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            revision = migrations.current(connection)
    print(f"a migration of {seconds:.0f} s, {servers} servers: ready {results}, all after {ready_s:.1f} s;", end=" ")
    print(f"lines about waiting {waits}; the schema is at {revision}", flush=True)
    return all(results) and revision == slow_migration.REVISION and sum(count > 0 for count in waits) == servers - 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--servers", type=int, default=3)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Start, wait, count."""
    values = parser().parse_args(arguments)
    raise SystemExit(0 if report(values.seconds, values.servers) else 1)


if __name__ == "__main__":
    main()
