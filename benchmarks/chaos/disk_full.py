"""The disk of a real server fills up and is freed again: no 500, reading goes on, nothing acknowledged is lost.

    python benchmarks/chaos/disk_full.py [--mib 24]

The database lies on a small tmpfs beside a ballast file; removing the ballast is the space that returns. Needs the
right to mount (root). Prints what was answered while full and after, and what the file holds in the end.
"""

from __future__ import annotations

import argparse
import collections
import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import httpx
from server_kills import RECORDS, Server, body

RUNS = 8


def send(client: httpx.Client, key: tuple[str, int]) -> int:
    """One upload; the status of its answer."""
    return client.post("/v1/uploads", json=body(*key)).status_code


def fill(client: httpx.Client) -> tuple[dict[tuple[str, int], int], set[int]]:
    """Send until nothing is accepted any more; what was answered to each upload, and to readers meanwhile."""
    answers: dict[tuple[str, int], int] = {}
    reads: set[int] = set()
    refused = 0
    for seq in range(1, 100_000):
        for number in range(RUNS):
            answers[f"run{number}", seq] = status = send(client, (f"run{number}", seq))
            refused = 0 if status == 202 else refused + 1
        if seq % 10 == 0 or refused:
            paths = (f"/v1/runs/run0/{what}" for what in ("overview", "layers", "numbers"))
            reads |= {client.get(path).status_code for path in paths}
        if refused >= 10 * RUNS:
            break
    return answers, reads


def again(client: httpx.Client, answers: dict[tuple[str, int], int]) -> collections.Counter[int]:
    """Send once more what was refused; what is answered now."""
    return collections.Counter(send(client, key) for key, status in answers.items() if status != 202)


def report(file: Path, sent: set[tuple[str, int]]) -> None:
    """What the file holds."""
    database = sqlite3.connect(file)
    held = [tuple(row) for row in database.execute("SELECT run_id, seq FROM uploads")]
    parts = dict(database.execute("SELECT run_id || '/' || seq, SUM(records) FROM segments GROUP BY run_id, seq"))
    (check,) = database.execute("PRAGMA integrity_check").fetchone()
    chunked = database.execute("SELECT COUNT(*) FROM chunks").fetchone()[0]
    database.close()
    in_part = sum(parts.get(f"{run}/{seq}", RECORDS if chunked else 0) != RECORDS for run, seq in held)
    print(
        f"in the file: {len(sent - set(held))} of {len(sent):,} missing, {len(held) - len(set(held))} twice, ", end=""
    )
    print(f"{in_part} in part; integrity_check {check}")


def run(folder: Path, mib: int) -> None:
    """Fill, free, send again, count."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(mib * 2**20 * 2 // 3))
    server = Server(str(folder))
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            answers, reads = fill(client)
            print(f"filling: {dict(collections.Counter(answers.values()))}, readers meanwhile: {sorted(reads)}")
            ballast.unlink()
            print(f"with space again, without a restart: {dict(again(client, answers))}")
    finally:
        server.kill()
    report(folder / "relumine.db", set(answers))


def main() -> None:
    """On a tmpfs of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=24)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("a tmpfs can be mounted by root only")
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={options.mib}m", "tmpfs", name], check=True)
        try:
            run(Path(name), options.mib)
        finally:
            subprocess.run(["umount", name], check=True)


if __name__ == "__main__":
    main()
