"""Advisory locks on spool files: a training holds one, ``relumine sync`` asks for one. No lock is ever waited for.

A lock tells that a file is still written. Where there are none (some network file systems, Windows) nothing is lost
either: ``spool`` writes again what was written to a file that was taken away.
"""

from __future__ import annotations

import errno
import io

try:
    import fcntl
except ImportError:  # Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


def lock_for_writing(file: io.FileIO) -> bool:
    """Lock a file until it is closed; return False where that is not possible."""
    if not HAS_LOCKS:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked_by_writer(file: io.FileIO) -> bool:
    """Return True if a living process has the file locked for writing. Otherwise it is locked for reading from now."""
    if not HAS_LOCKS:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    return False
