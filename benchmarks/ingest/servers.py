"""Real server processes on free ports of the loopback interface, ready when they are handed out, ended afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from figures import tree_s

PATIENCE_S = 120
NEVER_S = "86400"


class Server(NamedTuple):
    """A process that listens."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """Seconds of processor of it and its children so far."""
        return tree_s(self.pid)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def relumine(database_url: str, folder: Path) -> Iterator[Server]:
    """The server as it is, but for its upkeep, which would fall into some windows and not into others."""
    port = free_port()
    given = {"DATABASE_URL": database_url, "PORT": str(port), "UPKEEP_EVERY_S": NEVER_S, "REQUESTS_PER_SECOND": "0"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELUMINE_")}
    environment |= {f"RELUMINE_{name}": value for name, value in given.items()}
    with started([sys.executable, "-m", "relumine_server", "serve"], port, "/readyz", environment, folder) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], port: int, ready: str, environment: Mapping[str, str], folder: Path
) -> Iterator[Server]:
    """A process that answers ``ready``; what it prints is in ``folder``."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await(f"http://127.0.0.1:{port}{ready}", process, log)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < PATIENCE_S:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)  # between two looks at a starting server
    raise RuntimeError(f"{url} did not answer: {log.read_text()[-2000:]}")
