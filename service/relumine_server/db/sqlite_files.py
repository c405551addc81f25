"""The files of a SQLite database: private to their user, locked by one process, and still where they were opened.

A process keeps writing to a file that was deleted or moved, and what it wrote is lost. Therefore the device and
inode of the open file are compared with those of its path before and after each commit.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import struct
import sys
import threading
from pathlib import Path
from typing import IO, Any, NamedTuple

import structlog

from relumine_server.errors import FileInUseError, StorageOutage

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
LOCK_BYTE = 2**62
"""The byte of a database file that its server locks: SQLite locks 512 from 2**30 on, and no file is so large."""
_FLOCK = struct.Struct("@hhqqi4x")
"""A lock as Linux takes it: type, whence, start, length, and no process."""
_OTHERS = 0o077  # what the group and everybody else may do

_log = structlog.get_logger(__name__)


class FileIdentity(NamedTuple):
    """Device and inode of a file: what stays the same as long as it is the same file."""

    device: int
    inode: int


def identity_of(path: Path) -> FileIdentity | None:
    """Return the identity of the file at a path; None if there is none, or it cannot be reached."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileIdentity(status.st_dev, status.st_ino)


class OpenFiles:
    """The file of an open database and its write-ahead log, watched at their paths. Safe to use from many threads."""

    def __init__(self, database: Path) -> None:
        self._database = database.absolute()
        self._log_file = beside(self._database, "-wal")
        self._identity = identity_of(self._database)
        self._is_missing = False
        self._lock = threading.Lock()

    def log_identity(self) -> FileIdentity | None:
        """Return the identity of the write-ahead log, for a connection that has just opened it."""
        return identity_of(self._log_file)

    def require(self, log_identity: FileIdentity | None = None) -> None:
        """Raise StorageOutage unless the open files are at their paths; log when that changes.

        ``log_identity`` is that of the write-ahead log of the connection; None where it is not known.
        """
        is_missing = identity_of(self._database) != self._identity or (
            log_identity is not None and self.log_identity() != log_identity
        )
        if is_missing or self._is_missing:
            self._note(is_missing=is_missing)
        if is_missing:
            raise StorageOutage(
                "the file of the database was deleted, moved or replaced: nothing is written until it is back at its"
                " path; to use another file, restart the server"
            )

    def _note(self, *, is_missing: bool) -> None:
        with self._lock:
            if is_missing == self._is_missing:
                return
            self._is_missing = is_missing
        if is_missing:
            _log.error("the database file is no longer at its path", file=str(self._database))
        else:
            _log.warning("the database file is at its path again", file=str(self._database))


def open_exclusively(database: Path) -> list[IO[Any]]:
    """Create the file of a database if there is none, and lock it; return its locks, to be closed after the database.

    Raises FileInUseError if another process has locked it, OSError if a file cannot be opened.
    """
    locks: list[IO[Any]] = [lock(database)]
    try:
        create_private(database)
        locks.extend(lock_contents(database))
    except BaseException:
        locks[0].close()
        raise
    return locks


def create_private(database: Path) -> None:
    """Create the file of a database if there is none, and withdraw it and the files beside it from other users.

    SQLite gives the files that it creates beside a database the permissions of the database.
    """
    database.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    os.close(_open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))
    for path in (database, *(beside(database, suffix) for suffix in ("-wal", "-shm", "-journal"))):
        _withdraw(path)


def lock(database: Path) -> IO[str]:
    """Lock a file beside the database as long as the process exists; the kernel unlocks it even after kill -9.

    Raises FileInUseError if another process has locked it, OSError if the file cannot be opened.
    """
    database.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    path = beside(database, ".lock")
    # Another user who may open the file may lock it, and keep the server from starting.
    file = os.fdopen(_open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW), "a+")
    _withdraw(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        served = _served_elsewhere(database)
        owner = _other_owner(path)
        if owner is not None:
            served += f", or its lock is held by {owner}, who owns {path.name}"
        raise FileInUseError(served) from error
    return file


def lock_contents(database: Path) -> list[IO[bytes]]:
    """Lock the database file itself as long as the process exists, at a byte that SQLite does not use.

    The lock file may be deleted by hand, this lock only with the database. It must be released after SQLite has closed
    the file: closing a file takes away every lock that SQLite has on it in this process.

    Returns nothing where the system has no such locks. Raises FileInUseError if another process has locked it.
    """
    command = getattr(fcntl, "F_OFD_SETLK", None)
    if command is None or not sys.platform.startswith("linux"):
        return []
    file = os.fdopen(_open(database, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0)
    try:
        fcntl.fcntl(file, command, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, LOCK_BYTE, 1, 0))
    except (BlockingIOError, PermissionError) as error:
        file.close()
        raise FileInUseError(_served_elsewhere(database)) from error
    except OSError as error:  # a file system without such locks
        _log.warning("the database file itself cannot be locked", file=str(database), reason=error.strerror)
    return [file]


def _served_elsewhere(database: Path) -> str:
    return f"{database} is already served by another process (SQLite allows one, Postgres several)"


def _open(path: Path, flags: int) -> int:
    """Open a file of this user alone. Raises OSError, with a sentence where it is the file of another user."""
    try:
        return os.open(path, flags, PRIVATE_FILE)
    except PermissionError as error:
        owner = _other_owner(path)
        if owner is None:
            raise
        raise OSError(f"{path} belongs to {owner}: only a server of that user can use the database") from error


def _other_owner(path: Path) -> str | None:
    """Return who a file belongs to; None if that is the user of this process, or there is no file."""
    try:
        owner = path.lstat().st_uid
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    try:
        return f"user {pwd.getpwuid(owner).pw_name}"
    except KeyError:
        return f"the user with number {owner}"


def _withdraw(path: Path) -> None:
    """Take the permissions of other users away from a file, if there is one, and log it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & _OTHERS:
            return
        path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("other users may read a file of the database", file=str(path), reason=error.strerror)
    else:
        _log.warning(
            "other users could read a file of the database; their permission was removed",
            file=str(path),
            mode=f"{mode:04o}",
        )


def beside(database: Path, suffix: str) -> Path:
    """Return the path of a file beside a database."""
    return database.with_name(database.name + suffix)
