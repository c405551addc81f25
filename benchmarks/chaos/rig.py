"""What the rigs share: a real server process, a trainee, and counting what the server holds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int | None = None, folder: str | None = None) -> Iterator[str]:
    """A real server on SQLite; its address."""
    with tempfile.TemporaryDirectory() as fresh:
        port = port or free_port()
        database = f"sqlite:///{folder or fresh}/relumine.db"
        environment = os.environ | {"RELUMINE_DATABASE_URL": database, "RELUMINE_PORT": str(port)}
        command = [sys.executable, "-m", "relumine_server", "serve"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=fresh
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _await(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)  # between two looks at a starting server
    raise RuntimeError("the server did not start")


def train(folder: str, *arguments: str, timeout_s: float = 120) -> tuple[int, list[dict[str, Any]], float, str]:
    """Run a trainee: its exit code, what it printed, seconds from the end of training to the end of the process."""
    command = [sys.executable, str(HERE / "trainee.py"), *arguments]
    environment = os.environ | {"RELUMINE_DIR": folder}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    now = time.time()
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, lines, now - lines[0]["ended_at"] if lines else 0.0, done.stderr


def stored_looks(url: str, run: str) -> list[int]:
    """The steps of the looks that the server holds, each as often as it holds it."""
    answer = httpx.get(f"{url}/v1/runs/{run}/layers/1/series", params={"statistics": "active_rate", "points": 10_000})
    return [int(step) for step in answer.json().get("step", [])]


def sync(folder: str, url: str) -> str:
    """``relumine sync``: what it printed."""
    command = [sys.executable, "-m", "relumine", "sync", folder, "--url", url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout.strip()
