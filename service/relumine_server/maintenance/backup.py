"""A backup of a SQLite database, taken while a server may be writing to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from relumine_server.db.sqlite_files import PRIVATE_FILE
from relumine_server.maintenance.doctor import sqlite_path


def backup(database_url: str, target: Path) -> int:
    """Copy a SQLite database and check the copy; return its size in bytes.

    The target appears only once the copy is complete and checked.

    Raises ValueError for another database, FileExistsError where the target exists, FileNotFoundError without a source,
    and sqlite3.Error where the copy fails or is damaged.
    """
    source = sqlite_path(database_url)
    if source is None:
        raise ValueError("only SQLite files are copied by this command; for Postgres use pg_dump")
    if not source.exists():
        raise FileNotFoundError(source)
    if target.exists():
        raise FileExistsError(target)
    partial_copy = target.with_name(target.name + ".part")
    partial_copy.unlink(missing_ok=True)
    partial_copy.touch(PRIVATE_FILE)  # a copy holds the signing secrets of webhooks, as the database does
    source_uri = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(source_uri, uri=True)) as live, closing(sqlite3.connect(partial_copy)) as copy:
        live.backup(copy)
        (result,) = copy.execute("PRAGMA integrity_check").fetchone()
    if result != "ok":
        partial_copy.unlink()
        raise sqlite3.DatabaseError(f"the copy is damaged: {result}")
    partial_copy.rename(target)
    return target.stat().st_size
