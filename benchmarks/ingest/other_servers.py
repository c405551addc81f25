"""The servers of MLflow and trackio in their own environment, and requests that carry the same numbers as ours.

Both run with their defaults, except that MLflow has one worker and no job runner, which would only idle beside it.
MLflow takes each number with its step and its time of day; trackio takes all numbers of a step as one object, which is
its cheapest form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.common.server_process import Server, free_port, running
from benchmarks.ingest.load_generator import RequestBody, Target
from benchmarks.ingest.upload_shapes import EVERY, VARIANTS, Shape, count_values, record_table
from relumine.schemas.record_table import DEFAULTS, RECORD_SCALARS

PACKAGES = ("mlflow", "trackio")
TOKEN = "of-the-benchmark"  # noqa: S105 - for a server on the loopback interface that runs for minutes
STEP = "1234567890"  # in the prepared bodies, replaced by a step
TRACKIO = "import trackio; trackio.show(open_browser=False, host='127.0.0.1', server_port={port}, share=False)"


class TrackingServer(NamedTuple):
    """A server that listens, the body of a request that stores an upload's numbers, and how many those are."""

    process: Server
    target: Target
    body: RequestBody
    values: int


def install(environment: Path) -> str | None:
    """Create the environment unless it exists; return the error output if that failed."""
    python = environment / "bin" / "python"
    commands = [[str(python), "-m", "pip", "install", "-q", *PACKAGES]]
    if not python.exists():
        commands.insert(0, [sys.executable, "-m", "venv", str(environment)])
    for command in commands:
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            output = (completed.stdout + completed.stderr).strip()
            return output[-1000:] or f"{command[0]} ended with {completed.returncode}"
    return None


def versions(environment: Path) -> str:
    """Return names and versions of the installed packages."""
    code = "import sys; from importlib.metadata import version; print(*(p + ' ' + version(p) for p in sys.argv[1:]))"
    command = [str(environment / "bin" / "python"), "-c", code, *PACKAGES]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def mlflow(environment: Path, shape: Shape, connections: int, folder: Path) -> Iterator[TrackingServer]:
    """Run MLflow's tracking server on SQLite; requests go to ``log-batch``, which takes up to a thousand numbers."""
    port = free_port()
    command = [str(environment / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    variables = _environment(environment, folder, settings)
    with running(command, port=port, ready_path="/health", environment=variables, folder=folder) as process:
        create = f"{process.url}/api/2.0/mlflow/runs/create"
        answers = [httpx.post(create, json={"experiment_id": "0"}).raise_for_status() for _ in range(connections)]
        runs = [answer.json()["run"]["info"]["run_id"] for answer in answers]
        moment = {"timestamp": 1_700_000_000_000, "step": int(STEP)}
        bodies = []
        for numbers in _variants(shape):
            metrics = [{"key": name, "value": value, **moment} for name, value in numbers.items()]
            bodies.append(_split_at_step({"metrics": metrics}))

        def body(connection: int, number: int) -> Sequence[bytes]:
            head = f'{{"run_id":"{runs[connection]}",'.encode()
            return head, _step(number).join(bodies[number % VARIANTS])[1:]

        target = Target([port], "/api/2.0/mlflow/runs/log-batch", 200)
        yield TrackingServer(process, target, body, count_values(record_table(shape)))


@contextmanager
def trackio(environment: Path, shape: Shape, _connections: int, folder: Path) -> Iterator[TrackingServer]:
    """Run the server of trackio's dashboard, on SQLite; requests go to ``bulk_log``, as its client's do."""
    port = free_port()
    command = [str(environment / "bin" / "python"), "-c", TRACKIO.format(port=port)]
    settings = {"TRACKIO_DIR": str(folder / "trackio"), "TRACKIO_WRITE_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}
    variables = _environment(environment, folder, settings)
    with running(command, port=port, ready_path="/version", environment=variables, folder=folder) as process:
        entry = {"project": "bench", "run": "@run@", "run_id": "@run@", "step": int(STEP), "log_id": f"@run@-{STEP}"}
        entries = [{**entry, "metrics": numbers} for numbers in _variants(shape)]
        bodies = [_split_at_step({"logs": [variant], "hf_token": None}) for variant in entries]

        def body(connection: int, number: int) -> Sequence[bytes]:
            return (_step(number).join(bodies[number % VARIANTS]).replace(b"@run@", b"run%d" % connection),)

        target = Target([port], "/api/bulk_log", 200, f"X-Trackio-Write-Token: {TOKEN}\r\n")
        yield TrackingServer(process, target, body, count_values(record_table(shape)))


SERVERS = {"trackio": trackio, "MLflow": mlflow}


def _environment(environment: Path, folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """Return the variables of a server: its own programs first, its files in the temporary folder."""
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    folders = dict.fromkeys(("HOME", "HF_HOME", "TMPDIR"), str(folder))
    return {**os.environ, **folders, "PATH": path, "DO_NOT_TRACK": "true", **settings}


def _variants(shape: Shape) -> list[dict[str, float]]:
    """Return the numbers of an upload by name, for each variant."""
    return [_numbers_by_name(shape, seed) for seed in range(VARIANTS)]


def _numbers_by_name(shape: Shape, seed: int) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for row in record_table(shape, seed=seed):
        layer = f"layers.{row.layer_id}"
        for name in RECORD_SCALARS:
            value = getattr(row, name)
            if value not in (None, DEFAULTS.get(name)):
                numbers[f"{layer}/{name}"] = value
        for index, rate in enumerate(row.learning_rates or ()):
            numbers[f"{layer}/rate.{index}"] = rate
        for name, column in row.arrays().items():
            for unit, value in enumerate(column):
                numbers[f"{layer}/{name}.{unit}"] = float(value)
    return numbers


def _split_at_step(body: object) -> list[bytes]:
    """Return the JSON of a body, cut at each placeholder of the step."""
    return json.dumps(body, separators=(",", ":")).encode().split(STEP.encode())


def _step(number: int) -> bytes:
    return b"%d" % (EVERY * (number + 1))
