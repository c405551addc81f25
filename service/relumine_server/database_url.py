"""The URL of the database, read without SQLAlchemy and without the other settings, for commands that only look.

Only the usual form of a SQLite URL is understood here, without options and escapes.
``db.database.parse_url`` reads every form.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

VARIABLE = "RELUMINE_DATABASE_URL"
DEFAULT = "sqlite:///relumine.db"

_SQLITE_FILE = re.compile(r"sqlite:///([^?%]+)")


def from_environment() -> str:
    """Return the URL of the environment, or the default. The case of the variable's name does not matter."""
    for name, value in os.environ.items():
        if name.upper() == VARIABLE:
            return value
    return DEFAULT


def plain_sqlite_path(database_url: str) -> Path | None:
    """Return the file of a SQLite URL without options; None for any other URL, valid or not."""
    match = _SQLITE_FILE.fullmatch(database_url)
    if match is None or match[1] == ":memory:":
        return None
    return Path(match[1])
