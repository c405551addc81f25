"""A server and a training in processes of their own, and the number of sampled steps that the server stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.chaos.server import Server

ROOT = Path(__file__).parents[2]


@contextmanager
def server() -> Iterator[str]:
    """Run a server with default settings on SQLite; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        process = Server(f"sqlite:///{folder}/relumine.db", settings={})
        process.start()
        try:
            yield process.url
        finally:
            process.terminate()


class Training(NamedTuple):
    """A training that ended: exit code, JSON lines, seconds from its last step to its exit, and standard error."""

    exit_code: int
    lines: list[dict[str, Any]]
    exit_s: float
    stderr: str


def train(folder: str, *arguments: str, timeout_s: float = 120) -> Training:
    """Run ``tests.chaos.training_script`` with the SDK's files in ``folder``."""
    command = [sys.executable, "-m", "tests.chaos.training_script", *arguments]
    environment = os.environ | {"RELUMINE_DIR": folder}
    completed = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd=ROOT, check=False
    )
    exited_at = time.time()
    lines = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith("{")]
    exit_s = exited_at - lines[0]["ended_at"] if lines else 0.0
    return Training(completed.returncode, lines, exit_s, completed.stderr)


def stored_steps(url: str, run: str) -> list[int]:
    """Return the sampled steps that the server stores, each as often as it is stored."""
    answer = httpx.get(f"{url}/v1/runs/{run}/layers/1/series", params={"statistics": "active_rate", "points": 10_000})
    return [int(step) for step in answer.json().get("step", [])]


def sampled_steps_stored(url: str, run: str) -> int:
    """Return the sampled steps that are stored; where they come faster than they are sent, several share a record."""
    answer = httpx.get(f"{url}/v1/runs/{run}/layers/1/series", params={"statistics": "sampled_steps", "points": 10_000})
    return int(sum(answer.json()["statistics"]["sampled_steps"]["last"])) if answer.status_code == 200 else 0


def sync(folder: str, url: str) -> str:
    """Run ``relumine sync``; return its output."""
    command = [sys.executable, "-m", "relumine", "sync", folder, "--url", url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout.strip()
