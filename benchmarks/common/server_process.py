"""Server processes on free loopback ports, ready when they are yielded and ended afterwards."""

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

from benchmarks.common.stats import tree_cpu_s

READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
WITHOUT_MAINTENANCE = {"MAINTENANCE_INTERVAL_S": "86400", "REQUESTS_PER_SECOND": "0"}
"""Settings for measurements: maintenance would fall into some windows only, and all clients have one address."""


class Server(NamedTuple):
    """A process that listens."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Return the processor seconds of the process and its children so far."""
        return tree_cpu_s(self.pid)


def free_port() -> int:
    """Return a loopback port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def relumine(database_url: str, folder: Path, settings: Mapping[str, str] = WITHOUT_MAINTENANCE) -> Iterator[Server]:
    """Run the Relumine server; ``settings`` by name without the prefix ``RELUMINE_``, all others by default."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELUMINE_")}
    for name, value in {**settings, "DATABASE_URL": database_url, "PORT": str(port)}.items():
        environment[f"RELUMINE_{name}"] = value
    command = [sys.executable, "-m", "relumine_server", "serve"]
    with running(command, port=port, ready_path="/readyz", environment=environment, folder=folder) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], *, port: int, ready_path: str, environment: Mapping[str, str], folder: Path
) -> Iterator[Server]:
    """Run a process that answers ``ready_path`` with 200 when it is ready; its output goes to a file in ``folder``."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}{ready_path}", process, log)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    with httpx.Client(timeout=2) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)  # between two requests to a starting server
    raise RuntimeError(f"{url} did not answer: {log.read_text()[-2000:]}")
