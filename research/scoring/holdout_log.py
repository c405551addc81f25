"""The access log of the held-out sets: every scoring of one adds a line to ``holdout.log``, and tables print the count.

Choosing thresholds by the numbers of a held-out set would make them worthless; the log shows how often that could have
happened.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

LOG = Path(__file__).with_name("holdout.log")
HELD_OUT = ("heldout_1", "heldout_2", "heldout_3", "kinds_reported")


def log_access(reason: str, split: str) -> None:
    """Append the date, the commit, the set, and who used it and why."""
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC  {_commit()}  {_mark(split)}{' '.join(reason.split())}\n"
    with LOG.open("a", encoding="utf-8") as log:
        log.write(line)


def accesses(split: str) -> list[str]:
    """Return all accesses to a set, the oldest first."""
    lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else []
    return [line for line in lines if _mark(split) in line]


def _mark(split: str) -> str:
    """Return the beginning of a line's reason."""
    return f"[{split}] "


def _commit() -> str:
    """Return the commit that is checked out, with a plus if the tree differs from it."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
