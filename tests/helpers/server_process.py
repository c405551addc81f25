"""``relumine-server serve`` as a real process on a port that the system chooses, with its imports done already."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import httpx

from tests.helpers.forked_python import SERVERS

DEADLINE_S = 60
_ANNOUNCED = re.compile(r"^relumine-server: http://[^ ]*:(\d+)", re.MULTILINE)


class ServerProcess:
    """A server process with its output in files.

    ``settings`` are environment variables. The port is read from the line that the server prints when it starts.
    """

    def __init__(self, database_url: str, folder: Path, *options: str, **settings: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._stdout = folder / "stdout"
        self._stderr = folder / "stderr"
        environment = {**os.environ, "RELUMINE_DATABASE_URL": database_url, **settings}
        with self._stdout.open("w") as stdout, self._stderr.open("w") as stderr:
            command = ["-m", "relumine_server", "serve", "--port", "0", *options]
            self.process = SERVERS.start(command, env=environment, stdout=stdout, stderr=stderr)

    @property
    def stdout(self) -> str:
        """The standard output of the server so far."""
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        """The standard error of the server so far, its log included."""
        return self._stderr.read_text()

    @property
    def url(self) -> str:
        """The address of the server, on this machine."""
        announced = _ANNOUNCED.search(self.stderr)
        assert announced is not None, self.stderr
        return f"http://127.0.0.1:{announced[1]}"

    def wait_until_ready(self) -> ServerProcess:
        """Wait until /readyz answers 200; fail if the process ends before."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.stderr
            if _ANNOUNCED.search(self.stderr) and self._is_ready():
                return self
            time.sleep(0.05)  # a real process is waited for
        raise AssertionError(f"not ready after {DEADLINE_S} s: {self.stderr}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=DEADLINE_S).is_success
        except httpx.HTTPError:
            return False

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End the process at once, if it still runs."""
        self.process.kill()
        self.process.wait()
