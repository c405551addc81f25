"""Files and folders that only this user can read, and that no link or folder of another user stands in for."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from pathlib import Path

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600

# Not on every system.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe must not block


class UnsafePathError(OSError):
    """A link, or a folder of another user, where a file of ours should be. The message is a sentence."""


def create_folder(folder: Path) -> None:
    """Create a folder that only this user can enter, whatever the umask. One of this user that exists stays as it is.

    Raises:
        UnsafePathError: it is a link, or belongs to another user.
        OSError: it cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        check_folder(folder)
    else:
        folder.chmod(_FOLDER_MODE)


def check_folder(folder: Path) -> None:
    """Raise UnsafePathError for a folder that is a link or belongs to another user; OSError where there is none."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise UnsafePathError(f"{folder} is a link, which is not followed")
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafePathError(f"{folder} is not a folder")
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise UnsafePathError(f"{folder} belongs to another user")


def reason_of(error: OSError, path: Path) -> str:
    """Return why a file or folder cannot be read: that it belongs to another user, or what the system says."""
    if isinstance(error, PermissionError) and hasattr(os, "geteuid"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != os.geteuid():
                return "belongs to another user, who alone can send it"
    return error.strerror or str(error)


def open_to_append(path: Path) -> io.FileIO:
    """Open a file for reading and appending; create it for this user alone, whatever the umask. Raises OSError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK | _NO_WAIT | _BINARY
    file = io.FileIO(os.open(path, flags, _FILE_MODE), "a+")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise UnsafePathError(f"{path} is not a regular file")
    if hasattr(os, "fchmod") and status.st_size == 0:
        os.fchmod(file.fileno(), _FILE_MODE)
    return file


def open_to_read(path: Path) -> io.FileIO:
    """Open a regular file. Raises OSError, also for a link."""
    file = io.FileIO(os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAIT | _BINARY), "r")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnsafePathError(f"{path} is not a regular file")
    return file


def is_in_place(file: io.FileIO, path: Path) -> bool:
    """Return False if an open file is no longer the one of that name: it was renamed or deleted.

    The name is opened, not only looked up: network file systems answer look-ups from memory.
    """
    try:
        with open_to_read(path) as other:
            return os.path.sameopenfile(file.fileno(), other.fileno())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # nothing is known


def append_all(file: io.FileIO, content: bytes) -> int:
    """Append all of ``content``; return its offset. Raises OSError; the file is as before then, if the disk allows."""
    offset = os.fstat(file.fileno()).st_size
    remaining = memoryview(content)
    try:
        while remaining:
            remaining = remaining[file.write(remaining) or 0 :]
    except OSError:
        _truncate(file, offset)
        raise
    return offset


def _truncate(file: io.FileIO, size: int) -> None:
    with contextlib.suppress(OSError):  # readers skip what is no frame
        file.truncate(size)
