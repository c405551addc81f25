"""kill -9 of the server, again and again, while eight clients send: what was acknowledged is there, once.

    python benchmarks/chaos/server_kills.py [--kills 20]

On SQLite. Prints how many uploads were acknowledged, how many of them are missing or held twice, what the integrity
check says, and how long the server took to be ready again.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
from rig import free_port

CLIENTS, RECORDS, UNITS = 8, 16, 64


class Server:
    """A server process that is killed and started again on the same file."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | {
            "RELUMINE_DATABASE_URL": f"sqlite:///{folder}/relumine.db",
            "RELUMINE_PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it was ready."""
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relumine_server", "serve"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while time.monotonic() - began < 60:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200:
                    return time.monotonic() - began
            except httpx.HTTPError:
                time.sleep(0.02)  # between two looks at a starting server
        raise RuntimeError("not ready in a minute")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def body(run: str, seq: int) -> dict[str, object]:
    """One upload."""
    steps = range((seq - 1) * RECORDS + 1, seq * RECORDS + 1)
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [4] * UNITS} for step in steps
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


def send(url: str, run: str, stop: threading.Event, acknowledged: list[tuple[str, int]]) -> None:
    """Send uploads in order until told to stop, each until it was acknowledged."""
    seq = 1
    with httpx.Client(timeout=5) as client:
        while not stop.is_set():
            try:
                answer = client.post(f"{url}/v1/uploads", json=body(run, seq))
            except httpx.HTTPError:
                time.sleep(0.02)  # between two tries at a server that was just killed
                continue
            if answer.status_code == 202:
                acknowledged.append((run, seq))
                seq += 1
            elif answer.status_code not in (429, 503):
                raise RuntimeError(answer.text)


def main() -> None:
    """Kill, restart, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, stop = Server(folder), threading.Event()
        acknowledged: list[tuple[str, int]] = []
        ready = [server.start()]
        clients = [
            threading.Thread(target=send, args=(server.url, f"run{i}", stop, acknowledged)) for i in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for _ in range(options.kills):
            time.sleep(random.uniform(0.3, 1.5))  # each kill meets the server at another moment of its work
            server.kill()
            ready.append(server.start())
        time.sleep(0.5)  # the last server acknowledges something, too
        stop.set()
        for client in clients:
            client.join()
        server.kill()
        report(Path(folder, "relumine.db"), acknowledged, ready)


def report(file: Path, acknowledged: list[tuple[str, int]], ready: list[float]) -> None:
    """What the file holds."""
    database = sqlite3.connect(file)
    held = [tuple(row) for row in database.execute("SELECT run_id, seq FROM uploads")]
    per_upload = dict(database.execute("SELECT run_id || '/' || seq, SUM(records) FROM segments GROUP BY run_id, seq"))
    (check,) = database.execute("PRAGMA integrity_check").fetchone()
    database.close()
    partial = sum(per_upload.get(f"{run}/{seq}") != RECORDS for run, seq in held)
    print(f"{len(ready) - 1} kills, {CLIENTS} clients: {len(acknowledged):,} uploads acknowledged, ", end="")
    print(f"{len(set(acknowledged) - set(held))} of them missing, {len(held) - len(set(held))} held twice, ", end="")
    print(f"{partial} held in part; integrity_check {check}; ready again in at most {max(ready[1:]):.2f} s")


if __name__ == "__main__":
    main()
