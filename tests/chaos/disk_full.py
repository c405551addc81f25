"""The disk of a real server fills up and is freed again: no 500, reads go on, nothing acknowledged is lost.

    python -m tests.chaos.disk_full [--mib 24]

The database is on a small tmpfs beside a ballast file; deleting the ballast frees the space again. Needs the right to
mount (root). Prints the answers while the disk was full and afterwards, and what the database holds in the end.
"""

from __future__ import annotations

import argparse
import collections
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.chaos.server import RETRY_STATUSES, UNDER_ATTACK, Key, Server
from tests.chaos.server_kills import RECORDS, upload_body

RUNS = 8
SETTINGS = {**UNDER_ATTACK, "MIN_FREE_BYTES": "0"}  # this disk is never as free as a server usually requires


def send(client: httpx.Client, key: Key) -> int:
    """Send one upload; return the status of the answer."""
    return client.post("/v1/uploads", json=upload_body(*key)).status_code


def fill(client: httpx.Client) -> tuple[dict[Key, int], set[int]]:
    """Send until nothing is accepted any more; return the answer to each upload, and those to reads meanwhile."""
    answers: dict[Key, int] = {}
    reads: set[int] = set()
    refused = 0
    for seq in range(1, 100_000):
        for number in range(RUNS):
            key = (f"run{number}", seq)
            answers[key] = send(client, key)
            refused = 0 if answers[key] == 202 else refused + 1
        if seq % 10 == 0 or refused:
            for resource in ("overview", "layers", "metrics"):
                reads.add(client.get(f"/v1/runs/run0/{resource}").status_code)
        if refused >= 10 * RUNS:
            break
    return answers, reads


def send_again(client: httpx.Client, answers: dict[Key, int]) -> collections.Counter[int]:
    """Send what was refused once more; return the answers."""
    return collections.Counter(send(client, key) for key, status in answers.items() if status != 202)


def report_stored(file: Path, sent: set[Key]) -> bool:
    """Print what the database holds; return whether that is every upload, once and completely."""
    database = sqlite3.connect(file)
    uploads = [tuple(row) for row in database.execute("SELECT run_id, seq FROM uploads")]
    query = "SELECT run_id || '/' || seq, SUM(record_count) FROM segments GROUP BY run_id, seq"
    records = dict(database.execute(query))
    (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
    (chunks,) = database.execute("SELECT COUNT(*) FROM chunks").fetchone()
    database.close()
    partial = 0
    for run, seq in uploads:
        if_compacted = RECORDS if chunks else 0
        partial += records.get(f"{run}/{seq}", if_compacted) != RECORDS
    missing = len(sent - set(uploads))
    twice = len(uploads) - len(set(uploads))
    print(f"stored: {missing} of {len(sent):,} missing, {twice} twice, {partial} in part; integrity_check {integrity}")
    return not (missing or twice or partial) and integrity == "ok"


def run(folder: Path, mib: int) -> bool:
    """Fill the disk, free space, send again, count; return whether all promises held."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(mib * 2**20 * 2 // 3))
    server = Server(f"sqlite:///{folder}/relumine.db", settings=SETTINGS)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            answers, reads = fill(client)
            print(f"filling: {dict(collections.Counter(answers.values()))}, reads meanwhile: {sorted(reads)}")
            ballast.unlink()
            late_answers = send_again(client, answers)
            print(f"with free space again, without a restart: {dict(late_answers)}")
    finally:
        server.kill()
    is_stored = report_stored(folder / "relumine.db", set(answers))
    is_refused_well = set(answers.values()) - {202} <= set(RETRY_STATUSES)
    return is_stored and is_refused_well and reads == {200} and set(late_answers) == {202}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mib", type=int, default=24, help="size of the disk")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run on a fresh tmpfs."""
    options = parser().parse_args(arguments)
    if os.geteuid() != 0:
        raise SystemExit("only root can mount a tmpfs")
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={options.mib}m", "tmpfs", name], check=True)
        try:
            is_good = run(Path(name), options.mib)
        finally:
            subprocess.run(["umount", name], check=True)
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
