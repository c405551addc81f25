"""``relumine sync`` runs again and again beside a training that writes the spool, with and without file locks.

    python -m tests.chaos.sync_beside_training [--steps 2000]

Printed per case: the syncs that ran, what the training sampled, what the server stores, and the files that are left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.harness import ROOT, sampled_steps_stored, server, stored_steps

# Runs a command of the package as on a file system without locks.
WITHOUT_LOCKS = "from relumine._export import file_locks; file_locks.HAS_LOCKS = False; "
TRAIN = "import sys; from tests.chaos.training_script import main; main(sys.argv[1:])"
SYNC = "import sys; from relumine.cli import main; sys.exit(main(sys.argv[1:]))"


def start(code: str, folder: str, *arguments: str, has_locks: bool) -> subprocess.Popen[str]:
    """Start a Python process."""
    command = [sys.executable, "-c", code if has_locks else WITHOUT_LOCKS + code, *arguments]
    environment = os.environ | {"RELUMINE_DIR": folder}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def sync(folder: str, url: str, *, has_locks: bool) -> int:
    """Run one sync; return its exit code."""
    process = start(SYNC, folder, "sync", folder, "--url", url, has_locks=has_locks)
    process.communicate(timeout=300)
    return process.returncode


def run(steps: int, *, end: str, has_locks: bool) -> bool:
    """Train offline while syncs run; print what arrived and return whether all of it did, once."""
    with tempfile.TemporaryDirectory() as folder, server() as url:
        options = ("--mode", "offline", "--steps", str(steps), "--pause", "0.005", "--end", end)
        training = start(TRAIN, folder, *options, has_locks=has_locks)
        exit_codes = []
        while training.poll() is None:
            exit_codes.append(sync(folder, url, has_locks=has_locks))
        lines = [json.loads(line) for line in training.communicate()[0].splitlines() if line.startswith("{")]
        exit_codes.append(sync(folder, url, has_locks=has_locks))
        stats = lines[-1]["stats"]
        stored = stored_steps(url, lines[0]["run"])
        sampled = sampled_steps_stored(url, lines[0]["run"])
        left = sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
    least = stats["sampled_steps"] if end == "close" else stats["acked_steps"]
    is_complete = sampled >= least and stored == sorted(set(stored)) and not any(exit_codes) and not left
    print(
        f"{'locks' if has_locks else 'no locks':<9} {end:<8} {len(exit_codes)} syncs with exit codes "
        f"{sorted(set(exit_codes))}, sampled {stats['sampled_steps']}, stored {sampled} in {len(stored)} records, "
        f"twice {len(stored) - len(set(stored))}, files left {left}: {'ok' if is_complete else 'LOST OR LEFT'}"
    )
    return is_complete


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=2_000)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every case; return 1 if anything was lost."""
    options = parser().parse_args(arguments)
    cases = [(end, has_locks) for has_locks in (True, False) for end in ("close", "SIGKILL")]
    results = [run(options.steps, end=end, has_locks=has_locks) for end, has_locks in cases]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
