"""The servers of MLflow and trackio, in an environment of their own, and requests that carry the same numbers as ours.

Both as they come, but MLflow with one worker and without its job runner, which would only wait beside it. MLflow takes
each number with its step and its time of day; trackio all numbers of a step as one object, which is what it likes best.
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
from load import Request, Target
from servers import Server, free_port, started
from shapes import EVERY, VARIANTS, Shape, table, values

from relumine.table import DEFAULTS, RECORD_SCALARS

PACKAGES = ("mlflow", "trackio")
TOKEN = "of-the-benchmark"  # noqa: S105 - of a server on the loopback interface that lives for minutes
STEP = "1234567890"  # in the bodies, until a step of as many digits takes its place
SHOW = "import trackio; trackio.show(open_browser=False, host='127.0.0.1', server_port={port}, share=False)"


class Peer(NamedTuple):
    """A server that listens, and how it is asked to keep the numbers of an upload."""

    server: Server
    target: Target
    request: Request
    values: int


def install(environment: Path) -> str | None:
    """Make the environment unless it is there; what went wrong, if anything did."""
    python = environment / "bin" / "python"
    commands = [] if python.exists() else [[sys.executable, "-m", "venv", str(environment)]]
    for command in [*commands, [str(python), "-m", "pip", "install", "-q", *PACKAGES]]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stdout + done.stderr).strip()[-1000:] or f"{command[0]} ended with {done.returncode}"
    return None


def versions(environment: Path) -> str:
    """Of what was installed."""
    code = "import sys; from importlib.metadata import version; print(*(p + ' ' + version(p) for p in sys.argv[1:]))"
    command = [str(environment / "bin" / "python"), "-c", code, *PACKAGES]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def mlflow(environment: Path, shape: Shape, connections: int, folder: Path) -> Iterator[Peer]:
    """Its tracking server on SQLite; ``log-batch`` of its REST interface, which takes up to a thousand numbers."""
    port = free_port()
    command = [str(environment / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with started(command, port, "/health", _environment(environment, folder, quiet), folder) as server:
        create = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/create"
        answers = [httpx.post(create, json={"experiment_id": "0"}).raise_for_status() for _ in range(connections)]
        runs = [answer.json()["run"]["info"]["run_id"] for answer in answers]
        moment = {"timestamp": 1_700_000_000_000, "step": int(STEP)}
        bodies = [
            _split({"metrics": [{"key": name, "value": value, **moment} for name, value in variant.items()]})
            for variant in _variants(shape)
        ]

        def request(connection: int, number: int) -> Sequence[bytes]:
            head = f'{{"run_id":"{runs[connection]}",'.encode()
            return head, _step(number).join(bodies[number % VARIANTS])[1:]

        yield Peer(server, Target([port], "/api/2.0/mlflow/runs/log-batch", 200), request, values(table(shape)))


@contextmanager
def trackio(environment: Path, shape: Shape, _connections: int, folder: Path) -> Iterator[Peer]:
    """Its dashboard's server, which has SQLite behind it; ``bulk_log``, as its own client calls it."""
    port = free_port()
    command = [str(environment / "bin" / "python"), "-c", SHOW.format(port=port)]
    own = {"TRACKIO_DIR": str(folder / "trackio"), "TRACKIO_WRITE_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}
    with started(command, port, "/version", _environment(environment, folder, own), folder) as server:
        entry = {"project": "bench", "run": "@run@", "run_id": "@run@", "step": int(STEP), "log_id": f"@run@-{STEP}"}
        bodies = [_split({"logs": [{**entry, "metrics": one}], "hf_token": None}) for one in _variants(shape)]

        def request(connection: int, number: int) -> Sequence[bytes]:
            return (_step(number).join(bodies[number % VARIANTS]).replace(b"@run@", b"run%d" % connection),)

        target = Target([port], "/api/bulk_log", 200, f"X-Trackio-Write-Token: {TOKEN}\r\n")
        yield Peer(server, target, request, values(table(shape)))


PEERS = {"trackio": trackio, "MLflow": mlflow}


def _environment(environment: Path, folder: Path, own: dict[str, str]) -> dict[str, str]:
    """Of a peer's processes: its own programs first, its files where they vanish."""
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    place = dict.fromkeys(("HOME", "HF_HOME", "TMPDIR"), str(folder))
    return {**os.environ, **place, "PATH": path, "DO_NOT_TRACK": "true", **own}


def _variants(shape: Shape) -> list[dict[str, float]]:
    """The numbers of an upload by name, a few times drawn."""
    return [_named(shape, seed) for seed in range(VARIANTS)]


def _named(shape: Shape, seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in table(shape, seed=seed):
        layer = f"layers.{row.layer_id}"
        scalars = {name: getattr(row, name) for name in RECORD_SCALARS}
        told = {name: value for name, value in scalars.items() if value not in (None, DEFAULTS.get(name))}
        found |= {f"{layer}/{name}": value for name, value in told.items()}
        found |= {f"{layer}/rate.{i}": rate for i, rate in enumerate(row.learning_rates or ())}
        for name, column in row.arrays().items():
            found |= {f"{layer}/{name}.{unit}": float(value) for unit, value in enumerate(column)}
    return found


def _split(body: object) -> list[bytes]:
    """A body, cut where a step is."""
    return json.dumps(body, separators=(",", ":")).encode().split(STEP.encode())


def _step(number: int) -> bytes:
    return b"%d" % (EVERY * (number + 1))
