"""A backup is restored, or the run is deleted, under a running training.

    python -m tests.chaos.restored_backup [--steps 1500]

Printed per case: where the sampled steps are, what the server stores of them after a ``relumine sync`` of what the
training left on disk, and the last line of the SDK. The steps that the restored server had acknowledged after the
backup are lost with it; nothing else may be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from relumine_server.maintenance.backup import backup
from tests.chaos.harness import ROOT, stored_steps, sync
from tests.chaos.server import Server

RUN = "chaos-run"
DEADLINE_S = 120.0


class Scene(NamedTuple):
    """A server process, its database, and a place for the backup."""

    server: Server
    database: Path
    copy: Path


def restore(scene: Scene) -> None:
    """Put the backup in place of the database."""
    scene.server.terminate()
    for ending in ("", "-wal", "-shm"):
        scene.database.with_name(scene.database.name + ending).unlink(missing_ok=True)
    shutil.copy(scene.copy, scene.database)
    scene.server.start()


def delete(scene: Scene) -> None:
    """Delete the run."""
    httpx.delete(f"{scene.server.url}/v1/runs/{RUN}", timeout=60).raise_for_status()


def wait_for(scene: Scene, count: int) -> None:
    """Wait until the server stores so many sampled steps."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if len(stored_steps(scene.server.url, RUN)) >= count:
            return
        time.sleep(0.1)  # between two checks of a running training
    raise RuntimeError(f"fewer than {count} steps stored after {DEADLINE_S:g} s")


def run(name: str, disturb: Callable[[Scene], None], steps: int, *, is_younger: bool) -> bool:
    """Disturb a training once; print the account and return whether it holds. ``is_younger``: than the backup."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "relumine.db")
        scene = Scene(Server(f"sqlite:///{database}", settings={}), database, Path(folder, "copy.db"))
        scene.server.start()
        try:
            if is_younger:
                backup(f"sqlite:///{database}", scene.copy)
            command = [sys.executable, "-m", "tests.chaos.training_script", "--url", scene.server.url, "--run", RUN]
            command += ["--steps", str(steps), "--pause", "0.03"]
            environment = os.environ | {"RELUMINE_DIR": str(Path(folder, "spool"))}
            pipe = subprocess.PIPE
            training = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
            wait_for(scene, 20)
            if not is_younger:
                backup(f"sqlite:///{database}", scene.copy)
            wait_for(scene, 100)
            disturb(scene)
            output, log = training.communicate(timeout=600)
            stats = json.loads(output.splitlines()[-1])["stats"]
            sync(str(Path(folder, "spool")), scene.server.url)
            stored = stored_steps(scene.server.url, RUN)
        finally:
            scene.server.kill()
    return report(name, stats, stored, log.splitlines()[-1])


def report(name: str, stats: dict[str, Any], stored: list[int], line: str) -> bool:
    """Print the account; return whether nothing was dropped and everything after the disturbance is stored."""
    gaps = [step for step, following in zip(stored, stored[1:], strict=False) if following != step + 1]
    kept_steps = stats["acked_steps"] + stats["spooled_steps"]
    is_accounted = not stats["dropped_steps"] and kept_steps == stats["sampled_steps"]
    # Steps that share a record are one row of the series.
    is_complete = (len(gaps) <= 1 or bool(stats["merged_steps"])) and stored[-1:] == [stats["sampled_steps"]]
    is_once = stored == sorted(set(stored))
    is_good = is_accounted and is_complete and is_once
    print(
        f"{name:<28} sampled {stats['sampled_steps']}, acked {stats['acked_steps']}, on disk {stats['spooled_steps']}, "
        f"dropped {stats['dropped_steps']}, stored {len(stored)} with {len(gaps)} gaps, "
        f"{'ok' if is_good else 'LOST'}: {line}",
        flush=True,
    )
    return is_good


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=1_500)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every case; return 1 if anything was lost."""
    steps = parser().parse_args(arguments).steps
    results = [
        run("backup older than the run", restore, steps, is_younger=True),
        run("backup within the run", restore, steps, is_younger=False),
        run("deleted run", delete, steps, is_younger=False),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
