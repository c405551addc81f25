"""The checks of ``relumine-server doctor``: version, file system, disk, schema, clock and integrity of a database.

They take no lock, so that they can run beside a server.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from relumine_server.database_url import plain_sqlite_path
from relumine_server.db import revisions, sqlite_snapshot

WAL_FIXED_IN = (3, 51, 3)
"""The first version of SQLite in which two writers cannot damage a write-ahead log."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "glusterfs", "ceph", "fuse.sshfs", "9p", "beegfs"}
)
MIN_FREE_BYTES = 2**30
CLOCK_TOLERANCE = timedelta(minutes=5)

CheckStatus: TypeAlias = Literal["ok", "warning", "problem"]
LATEST_WRITE = "SELECT max(updated_at) FROM runs"


class Check(NamedTuple):
    """The result of one check."""

    status: CheckStatus
    name: str
    detail: str


def examine(database_url: str, now: datetime) -> list[Check]:
    """Run every check that applies to a database. Raises UnknownDatabaseError for a URL of another kind."""
    path = sqlite_path(database_url)
    return _examine_postgres(database_url, now) if path is None else _examine_file(path, now)


def _examine_file(path: Path, now: datetime) -> list[Check]:
    """Check a SQLite file through its driver: loading SQLAlchemy takes longer than all the checks."""
    checks = [_check_sqlite_version(), _check_file_system(path), _check_disk(path)]
    if not path.exists():
        detail = f"{path} does not exist yet; `relumine-server serve` creates it"
        return [*checks, Check("warning", "database", detail)]
    try:
        with closing(sqlite3.connect(path)) as connection:
            revision = sqlite_snapshot.revision(connection)
            checks.append(_check_schema(revision))
            latest = connection.execute(LATEST_WRITE).fetchone()[0] if revision is not None else None
            checks.append(_check_clock(sqlite_snapshot.utc_time(latest), now))
            checks.append(_check_integrity(connection))
    except sqlite3.Error as error:
        checks.append(Check("problem", "connection", str(error).splitlines()[0]))
    return checks


def _examine_postgres(database_url: str, now: datetime) -> list[Check]:
    import sqlalchemy as sa  # noqa: PLC0415 - not needed for SQLite
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from relumine_server.db import migrations  # noqa: PLC0415
    from relumine_server.db.database import parse_url  # noqa: PLC0415

    checks: list[Check] = []
    engine = sa.create_engine(parse_url(database_url))
    try:
        with engine.connect() as connection:
            revision = migrations.current(connection)
            checks.append(_check_schema(revision))
            latest = connection.exec_driver_sql(LATEST_WRITE).scalar() if revision is not None else None
            checks.append(_check_clock(latest, now))
    except SQLAlchemyError as error:
        checks.append(Check("problem", "connection", str(error.__cause__ or error).splitlines()[0]))
    finally:
        engine.dispose()
    return checks


def sqlite_path(database_url: str) -> Path | None:
    """Return the file of a SQLite database, None for Postgres. Raises UnknownDatabaseError."""
    plain_path = plain_sqlite_path(database_url)
    if plain_path is not None:
        return plain_path
    from relumine_server.db.database import parse_url  # noqa: PLC0415 - loads SQLAlchemy

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


def _check_schema(current: str | None) -> Check:
    needed = revisions.head(revisions.script_location())
    if current == needed:
        return Check("ok", "schema", str(current))
    return Check("problem", "schema", f"at {current}, this version needs {needed}: relumine-server migrate")


def _check_clock(latest: datetime | None, now: datetime) -> Check:
    """Compare the clock with the latest write: one that went back falsifies due times and the order of runs."""
    if latest is not None and latest > now + CLOCK_TOLERANCE:
        return Check("problem", "clock", f"the database was written at {latest:%Y-%m-%d %H:%M} UTC, now is {now:%H:%M}")
    return Check("ok", "clock", now.astimezone(UTC).isoformat(timespec="seconds"))


def _check_integrity(connection: sqlite3.Connection) -> Check:
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return Check("ok" if result == "ok" else "problem", "integrity", str(result))
