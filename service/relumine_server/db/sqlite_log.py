"""The write-ahead log of an open SQLite database, compared with what SQLite believes of it.

SQLite keeps in shared memory (the ``-shm`` file) how many frames the log has, and never looks whether they are still
there: where another process cut the log, it appends behind the hole, and everything in the log is lost with the next
start. Both formats: https://sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from relumine_server.db.sqlite_files import FileIdentity, beside, identity_of
from relumine_server.errors import StorageOutage

_INDEX = struct.Struct("=14xHI12x8s8x48xI")
"""Of the first header of the shared memory: page size, frames, salts; behind its copy: frames in the database."""

_INDEX_HEADER_BYTES = 48
_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_SALTS_IN_HEADER = 16
_SALTS_IN_FRAME = 8
_SALT_BYTES = 8
_LARGEST_PAGE = 65_536  # is stored as 1

_MAX_ATTEMPTS = 100
"""Attempts to read a log that SQLite changes meanwhile; afterwards it counts as whole, until the next check."""

_log = structlog.get_logger(__name__)


class LogCutError(StorageOutage):
    """The log was cut."""


class LogState(NamedTuple):
    """The log as SQLite believes it to be: its committed frames, all of which have these salts.

    ``frame_bytes`` is the size of a frame; the first ``copied`` frames are in the database, too.
    """

    frame_bytes: int
    frames: int
    salts: bytes
    copied: int

    def start_of(self, frame: int) -> int:
        """Return the offset of a frame; the first is 1."""
        return _HEADER_BYTES + (frame - 1) * self.frame_bytes

    def is_like(self, other: LogState | None) -> bool:
        """True if the log is the same; more of it may have been copied."""
        return other is not None and self._replace(copied=0) == other._replace(copied=0)


class WriteAheadLog:
    """The log of an open database. Safe to use from many threads."""

    def __init__(self, database: Path) -> None:
        self._file = beside(database.absolute(), "-wal")
        self._memory_file = beside(database.absolute(), "-shm")
        self._identity: FileIdentity | None = None
        self._memory: int | None = None
        self._is_cut = False

    def opened(self) -> FileIdentity | None:
        """Return the identity of the log, which a connection has just opened, and open the shared memory beside it.

        That file is never closed: closing it would take away the locks which SQLite has on it in this process.
        """
        identity = identity_of(self._file)
        if identity in (None, self._identity):
            return identity
        try:
            self._memory = os.open(self._memory_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._memory = None
        self._identity = identity
        return identity

    def state(self) -> LogState | None:
        """Return what SQLite believes of the log; None where that cannot be known, or changes at this moment."""
        if self._memory is None:
            return None
        index = os.pread(self._memory, _INDEX.size, 0)
        header = index[:_INDEX_HEADER_BYTES]
        if len(index) < _INDEX.size or not index[_INDEX_HEADER_BYTES:].startswith(header):
            return None
        page_bytes, frames, salts, copied = _INDEX.unpack(index)
        page_bytes = _LARGEST_PAGE if page_bytes == 1 else page_bytes
        return LogState(_FRAME_HEADER_BYTES + page_bytes, frames, salts, copied)

    @property
    def frames(self) -> int:
        """The frames that are not in the database yet."""
        state = self.state()
        return 0 if state is None else state.frames - state.copied

    def require_whole(self, earlier: LogState | None = None) -> None:
        """Raise LogCutError if frames were cut that are not in the database yet.

        ``earlier`` is the state before a commit: every frame since is looked at, as the log may have been cut before
        the commit was appended to it.
        """
        for _ in range(_MAX_ATTEMPTS):
            state = self.state()
            if state is None or state.copied >= state.frames or self._is_whole(state, earlier):
                return
            if state.is_like(self.state()):
                break
        else:
            return
        if not self._is_cut:
            self._is_cut = True
            _log.error("the write-ahead log of the database was cut", file=str(self._file))
        raise LogCutError(
            "the write-ahead log of the database (its -wal file) was cut by another process: nothing is written until"
            " the server is restarted"
        )

    def _is_whole(self, state: LogState, earlier: LogState | None) -> bool:
        with _opened(self._file) as file:
            if file is None or os.fstat(file).st_size < state.start_of(state.frames + 1):
                return False
            if os.pread(file, _SALT_BYTES, _SALTS_IN_HEADER) != state.salts:
                return False
            first = 1
            if earlier is None:
                first = state.frames
            elif earlier.salts == state.salts:
                first = max(earlier.frames, 1)
            return _first_hole(file, state, first) is None

    def end_at_hole(self) -> None:
        """Cut off what follows a hole: otherwise SQLite would copy the zeros of the hole into the database.

        Nothing is lost: at its next start SQLite reads a log up to a hole. Only the writer may call it.
        """
        state = self.state()
        if state is None:
            return
        with _opened(self._file, os.O_RDWR) as file:
            if file is None:
                return
            if os.pread(file, _SALT_BYTES, _SALTS_IN_HEADER) != state.salts:
                os.ftruncate(file, 0)
                return
            hole = _first_hole(file, state, 1)
            if hole is not None:
                os.ftruncate(file, state.start_of(hole))


@contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int | None]:
    """Open a file for a moment; None if there is none. SQLite has no locks on the log, so it may be closed."""
    try:
        file = os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield file
    finally:
        os.close(file)


def _first_hole(file: int, state: LogState, first: int) -> int | None:
    """Return the number of the first frame, from ``first`` on, that is not of this log; None if all are."""
    for frame in range(first, state.frames + 1):
        if os.pread(file, _SALT_BYTES, state.start_of(frame) + _SALTS_IN_FRAME) != state.salts:
            return frame
    return None
