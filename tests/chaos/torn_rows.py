"""Rows of a real database are torn while its server is down; then it must serve and clean up everything else.

    python -m tests.chaos.torn_rows [--runs 8]

Tears a segment, a chunk, unit statistics, a detector state, a config and an alert of every second run of a SQLite file.
Prints the answers to reads and uploads of all runs, and whether the expired and the silent run were still noticed.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import httpx

from tests.chaos.server import Server

SETTINGS = {
    "MAINTENANCE_INTERVAL_S": "0.3", "EVALUATION_INTERVAL_S": "0.3", "STALL_TIMEOUT_S": "3", "PENDING_FOR_S": "0",
    "REQUESTS_PER_SECOND": "0",
}  # fmt: skip
UPLOADS = 12
STEPS = 200
TEARS = (
    "UPDATE segments SET data = substr(data, 1, 7) WHERE run_id LIKE 'torn%' AND seq % 3 = 1",
    "UPDATE chunks SET data = substr(data, 1, 7) WHERE run_id LIKE 'torn%' AND data IS NOT NULL",
    "UPDATE unit_stats SET columns = substr(columns, 1, 9) WHERE run_id LIKE 'torn%'",
    "UPDATE detector_states SET state = substr(state, 1, 20) WHERE run_id LIKE 'torn%'",
    "UPDATE runs SET config = '{\"torn' WHERE run_id LIKE 'torn%'",
    "UPDATE alerts SET evidence = '{\"torn' WHERE run_id LIKE 'torn%'",
)
PATHS = ("", "/overview", "/layers", "/export", "/metrics")
DEADLINE_S = 60


def body(run: str, seq: int, status: str | None = None) -> dict[str, object]:
    """Return an upload of a run whose units die."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [8 * (step < 500), 0]}
        for step in range(seq * STEPS, (seq + 1) * STEPS)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    upload = {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}
    return upload | {"final_status": status}


def report(runs: int) -> bool:
    """Fill, stop, tear, start, ask; print, and return whether nothing but the torn rows is missing."""
    names = [f"{'torn' if number % 2 else 'whole'}{number}" for number in range(runs)]
    uploads: Counter[int] = Counter()
    reads: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"sqlite:///{folder}/relumine.db", settings=SETTINGS)
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for seq in range(1, UPLOADS):
                for run in names:
                    client.post("/v1/uploads", json=body(run, seq)).raise_for_status()
        server.terminate()
        with closing(sqlite3.connect(f"{folder}/relumine.db")) as connection, connection:
            torn = sum(connection.execute(statement).rowcount for statement in TEARS)
        server.start()
        try:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                for path in [f"/v1/runs/{run}{path}" for run in names for path in PATHS] + ["/v1/runs", "/v1/alerts"]:
                    reads[client.get(path).status_code] += 1
                for run in names:
                    uploads[client.post("/v1/uploads", json=body(run, UPLOADS)).status_code] += 1
                stalled = _wait_for_stalled(client, len(names))
                deleted = [client.delete(f"/v1/runs/{run}").status_code for run in names]
        finally:
            server.terminate()
    print(f"{torn} rows torn in {runs // 2} of {runs} runs: reads {dict(reads)}, uploads {dict(uploads)},", end=" ")
    print(f"{stalled} of {runs} silent runs noticed, deletions {dict(Counter(deleted))}", flush=True)
    return set(reads) == {200} and set(uploads) == {202} and stalled == runs and set(deleted) == {204}


def _wait_for_stalled(client: httpx.Client, expected: int) -> int:
    deadline = time.monotonic() + DEADLINE_S
    stalled = 0
    while stalled < expected and time.monotonic() < deadline:
        time.sleep(0.2)  # the evaluator notices them one after the other
        stalled = len(client.get("/v1/runs", params={"status": "stalled"}).json()["items"])
    return stalled


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=8)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Tear, ask, count."""
    raise SystemExit(0 if report(parser().parse_args(arguments).runs) else 1)


if __name__ == "__main__":
    main()
