"""The report half is held out: each time it is scored a line goes to ``looks.log``; every table prints their count.

Tuning on numbers of the report half would make them worthless; the log shows how often that could have happened.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

LOG = Path(__file__).with_name("looks.log")


def note_look(why: str) -> None:
    """Append the date, the commit and who looked and why."""
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC  {_commit()}  {' '.join(why.split())}\n"
    with LOG.open("a", encoding="utf-8") as log:
        log.write(line)


def looks() -> list[str]:
    """All looks so far, the oldest first."""
    return LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else []


def _commit() -> str:
    """The commit that is checked out; a plus where the tree differs from it."""
    here = LOG.parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
    )
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
