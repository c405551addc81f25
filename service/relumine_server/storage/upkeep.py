"""Looking after a database: a copy of a live SQLite file, and what an operator should know of it. Takes no lock."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from relumine_server.storage import migrate
from relumine_server.storage import tables as t
from relumine_server.storage.store import address

WAL_FIXED = (3, 51, 3)
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "glusterfs", "ceph", "fuse.sshfs", "9p", "beegfs"}
)
LEAST_FREE = 2**30
CLOCK_SLACK = timedelta(minutes=5)

Verdict: TypeAlias = Literal["ok", "warning", "problem"]


class Check(NamedTuple):
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    found: str


def backup(database_url: str, target: Path) -> int:
    """Copy a SQLite database, also while a server writes to it; returns the bytes of the copy.

    Raises ValueError for another database, FileExistsError, FileNotFoundError, and sqlite3.Error where the copy fails
    or does not check.
    """
    source = _file(database_url)
    if source is None:
        raise ValueError("only SQLite files are copied by this command; for Postgres use pg_dump")
    if not source.exists():
        raise FileNotFoundError(source)
    if target.exists():
        raise FileExistsError(target)
    fresh = target.with_name(target.name + ".part")
    fresh.unlink(missing_ok=True)
    with sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True) as live, sqlite3.connect(fresh) as copy:
        live.backup(copy)
        (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    live.close()
    copy.close()
    if answer != "ok":
        fresh.unlink()
        raise sqlite3.DatabaseError(f"the copy does not check: {answer}")
    fresh.rename(target)
    return target.stat().st_size


def examine(database_url: str, now: datetime) -> list[Check]:
    """Version, file system, space, schema and clock of a database, as far as they can be seen from here."""
    checks = []
    file = _file(database_url)
    if file is not None:
        checks += [_sqlite_version(), _file_system(file), _space(file)]
        if not file.exists():
            return [
                *checks,
                Check("warning", "database", f"{file} does not exist yet; `relumine-server serve` makes it"),
            ]
    engine = sa.create_engine(address(database_url))
    try:
        with engine.connect() as connection:
            checks += [_schema(connection), _clock(connection, now)]
            if file is not None:
                checks.append(_integrity(connection))
    except SQLAlchemyError as error:
        checks.append(Check("problem", "connection", str(error.__cause__ or error).splitlines()[0]))
    finally:
        engine.dispose()
    return checks


def _file(database_url: str) -> Path | None:
    url = address(database_url)
    return Path(url.database or "relumine.db") if url.get_backend_name() == "sqlite" else None


def _sqlite_version() -> Check:
    if sqlite3.sqlite_version_info >= WAL_FIXED:
        return Check("ok", "SQLite", sqlite3.sqlite_version)
    fixed = ".".join(map(str, WAL_FIXED))
    note = f"{sqlite3.sqlite_version}: before {fixed} two writers can damage a WAL; this server is the only writer"
    return Check("warning", "SQLite", note)


def _file_system(file: Path) -> Check:
    kind = _mounted(file.absolute())
    if kind in NETWORK:
        return Check("problem", "file system", f"{kind}: SQLite's locks do not hold on a network; use a local disk")
    return Check("ok", "file system", kind)


def _mounted(path: Path) -> str:
    """The type of the file system that holds a path; Linux says so."""
    best, kind = "", "unknown"
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        _device, place, found = line.split(" ")[:3]
        inside = path.is_relative_to(place)
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind


def _space(file: Path) -> Check:
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    size = sum(part.stat().st_size for part in (file, Path(f"{file}-wal")) if part.exists())
    shown = f"{free / 2**30:.1f} GiB free, the database takes {size / 2**20:.1f} MiB"
    return Check("ok" if free >= LEAST_FREE else "warning", "disk", shown)


def _schema(connection: sa.Connection) -> Check:
    now, needed = migrate.current(connection), migrate.head()
    if now == needed:
        return Check("ok", "schema", str(now))
    return Check("problem", "schema", f"at {now}, this version needs {needed}: relumine-server migrate")


def _clock(connection: sa.Connection, now: datetime) -> Check:
    """A clock that went back makes due times and the order of runs wrong."""
    if migrate.current(connection) is None:
        return Check("ok", "clock", now.astimezone(UTC).isoformat(timespec="seconds"))
    latest = connection.execute(sa.select(sa.func.max(t.runs.c.updated_at))).scalar()
    if latest is not None and latest > now + CLOCK_SLACK:
        return Check("problem", "clock", f"the database was written at {latest:%Y-%m-%d %H:%M} UTC, now is {now:%H:%M}")
    return Check("ok", "clock", now.astimezone(UTC).isoformat(timespec="seconds"))


def _integrity(connection: sa.Connection) -> Check:
    answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    return Check("ok" if answer == "ok" else "problem", "integrity", str(answer))
