"""Three halves are held out: each time one is scored a line goes to ``looks.log``; every table prints their count.

Tuning on numbers of a held-out half would make them worthless; the log shows how often that could have happened.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

LOG = Path(__file__).with_name("looks.log")
HELD_OUT = ("report", "second", "third")


def note_look(why: str, half: str = "report") -> None:
    """Append the date, the commit, who looked and why, and at which half unless at the report half."""
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC  {_commit()}  {_mark(half)}{' '.join(why.split())}\n"
    with LOG.open("a", encoding="utf-8") as log:
        log.write(line)


def looks(half: str = "report") -> list[str]:
    """All looks at a half so far, the oldest first."""
    lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else []
    marks = [_mark(other) for other in HELD_OUT if _mark(other)]
    own = _mark(half)
    return [line for line in lines if (own in line if own else not any(mark in line for mark in marks))]


def _mark(half: str) -> str:
    """What begins a line's reason; the report half, which was there first, has none."""
    return "" if half == "report" else f"[{half} half] "


def _commit() -> str:
    """The commit that is checked out; a plus where the tree differs from it."""
    here = LOG.parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
    )
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
