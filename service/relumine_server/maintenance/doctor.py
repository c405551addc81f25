"""The checks of ``relumine-server doctor``: version, file system, disk, schema, clock and integrity of a database.

They take no lock, so that they can run beside a server.
"""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from relumine_server.db import migrations, tables
from relumine_server.db.database import parse_url

WAL_FIXED_IN = (3, 51, 3)
"""The first version of SQLite in which two writers cannot damage a write-ahead log."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "glusterfs", "ceph", "fuse.sshfs", "9p", "beegfs"}
)
MIN_FREE_BYTES = 2**30
CLOCK_TOLERANCE = timedelta(minutes=5)

CheckStatus: TypeAlias = Literal["ok", "warning", "problem"]


class Check(NamedTuple):
    """The result of one check."""

    status: CheckStatus
    name: str
    detail: str


def examine(database_url: str, now: datetime) -> list[Check]:
    """Run every check that applies to a database. Raises UnknownDatabaseError for a URL of another kind."""
    checks: list[Check] = []
    path = sqlite_path(database_url)
    if path is not None:
        checks += [_check_sqlite_version(), _check_file_system(path), _check_disk(path)]
        if not path.exists():
            detail = f"{path} does not exist yet; `relumine-server serve` creates it"
            return [*checks, Check("warning", "database", detail)]
    engine = sa.create_engine(parse_url(database_url))
    try:
        with engine.connect() as connection:
            checks += [_check_schema(connection), _check_clock(connection, now)]
            if path is not None:
                checks.append(_check_integrity(connection))
    except SQLAlchemyError as error:
        checks.append(Check("problem", "connection", str(error.__cause__ or error).splitlines()[0]))
    finally:
        engine.dispose()
    return checks


def sqlite_path(database_url: str) -> Path | None:
    """Return the file of a SQLite database, None for Postgres."""
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite":
        return None
    return Path(url.database or "relumine.db")


def _check_sqlite_version() -> Check:
    if sqlite3.sqlite_version_info >= WAL_FIXED_IN:
        return Check("ok", "SQLite", sqlite3.sqlite_version)
    fixed_in = ".".join(map(str, WAL_FIXED_IN))
    detail = f"{sqlite3.sqlite_version}: before {fixed_in} two writers can damage a WAL; this server is the only writer"
    return Check("warning", "SQLite", detail)


def _check_file_system(path: Path) -> Check:
    file_system = _file_system_of(path.absolute())
    if file_system in NETWORK_FILE_SYSTEMS:
        detail = f"{file_system}: SQLite's locks do not hold on a network; use a local disk"
        return Check("problem", "file system", detail)
    return Check("ok", "file system", file_system)


def _file_system_of(path: Path) -> str:
    """Return the type of the file system that contains a path; ``unknown`` where there is no ``/proc/mounts``."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    longest_mount_point = ""
    file_system = "unknown"
    for line in mounts:
        _device, mount_point, mounted_type = line.split(" ")[:3]
        if path.is_relative_to(mount_point) and len(mount_point) >= len(longest_mount_point):
            longest_mount_point = mount_point
            file_system = mounted_type
    return file_system


def _check_disk(path: Path) -> Check:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free_bytes = shutil.disk_usage(folder).free
    files = [file for file in (path, Path(f"{path}-wal")) if file.exists()]
    size_bytes = sum(file.stat().st_size for file in files)
    detail = f"{free_bytes / 2**30:.1f} GiB free, the database takes {size_bytes / 2**20:.1f} MiB"
    return Check("ok" if free_bytes >= MIN_FREE_BYTES else "warning", "disk", detail)


def _check_schema(connection: sa.Connection) -> Check:
    current = migrations.current(connection)
    needed = migrations.head()
    if current == needed:
        return Check("ok", "schema", str(current))
    return Check("problem", "schema", f"at {current}, this version needs {needed}: relumine-server migrate")


def _check_clock(connection: sa.Connection, now: datetime) -> Check:
    """Compare the clock with the latest write: one that went back falsifies due times and the order of runs."""
    current_time = Check("ok", "clock", now.astimezone(UTC).isoformat(timespec="seconds"))
    if migrations.current(connection) is None:
        return current_time
    latest = connection.execute(sa.select(sa.func.max(tables.runs.c.updated_at))).scalar()
    if latest is not None and latest > now + CLOCK_TOLERANCE:
        return Check("problem", "clock", f"the database was written at {latest:%Y-%m-%d %H:%M} UTC, now is {now:%H:%M}")
    return current_time


def _check_integrity(connection: sa.Connection) -> Check:
    result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    return Check("ok" if result == "ok" else "problem", "integrity", str(result))
