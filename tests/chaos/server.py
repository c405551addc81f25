"""Processes of ``relumine-server`` that are killed and restarted, and the databases they run on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx

from benchmarks.common.postgres import running
from benchmarks.common.server_process import free_port

READY_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60
RETRY_STATUSES = (429, 503, 507)
"""Answers after which an upload is sent again."""
UNDER_ATTACK = {
    "MAINTENANCE_INTERVAL_S": "0.3",  # kills meet compaction, too
    "REQUESTS_PER_SECOND": "0",  # all clients have one address
}

Key: TypeAlias = tuple[str, int]
"""Run and number of an upload."""
StartPython: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]
"""Start Python with a list of arguments; options are those of ``Popen``."""


def start_interpreter(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a new interpreter."""
    return subprocess.Popen([sys.executable, *arguments], **options)


class ServiceProcess:
    """A process of ``relumine-server`` that can be killed and started again. Settings have no ``RELUMINE_`` prefix."""

    start_python: StartPython = staticmethod(start_interpreter)

    def __init__(self, *arguments: str, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process."""
        self._process = self.start_python(
            ["-m", "relumine_server", *self._arguments],
            env=os.environ | {f"RELUMINE_{name}": value for name, value in self.settings.items()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and the seconds until it came."""
        if self._process is None:
            raise RuntimeError("not started")
        start = time.monotonic()
        self._process.terminate()
        return self._process.wait(STOP_TIMEOUT_S), time.monotonic() - start

    def restart(self) -> None:
        """Send SIGKILL and start a new process."""
        self.kill()
        self.start()


class Server(ServiceProcess):
    """A server process; ``start`` returns when it is ready."""

    def __init__(
        self,
        database_url: str,
        *arguments: str,
        settings: Mapping[str, str] = UNDER_ATTACK,
        workers: int = 1,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        address = {"DATABASE_URL": database_url, "PORT": str(self.port)}
        super().__init__("serve", *arguments, settings={**settings, **address, "WORKERS": str(workers)})

    def start(self) -> None:
        """Start the process and wait until it answers."""
        super().start()
        deadline = time.monotonic() + READY_TIMEOUT_S
        with httpx.Client(timeout=1) as client:
            while time.monotonic() < deadline:
                try:
                    if client.get(f"{self.url}/readyz").status_code == 200:
                        return
                except httpx.HTTPError:
                    time.sleep(0.02)  # between two requests to a starting server
        self.kill()
        raise RuntimeError(f"not ready within {READY_TIMEOUT_S} s")


@dataclass
class UploadLog:
    """The server's answers to uploads."""

    acknowledged: list[Key] = field(default_factory=list)
    retried: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)

    def count_refusal(self, status: int) -> None:
        """Count an answer that is not 202."""
        counter = self.retried if status in RETRY_STATUSES else self.unexpected
        counter[str(status)] += 1


Kill: TypeAlias = Callable[[Server], None]


@contextmanager
def sqlite() -> Iterator[tuple[str, dict[str, Kill]]]:
    """Yield the URL of a new database, and the ways to disturb a server on it by name."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/relumine.db", {"server": Server.restart}


@contextmanager
def postgres() -> Iterator[tuple[str, dict[str, Kill]]]:
    """Yield the same on a durable Postgres, whose backends are killed, too."""
    with running() as cluster:
        url = cluster.new_database()
        yield url, {"server": Server.restart, "backend": lambda _server: cluster.kill_random_backend(url)}


DATABASES = {"sqlite": sqlite, "postgres": postgres}
