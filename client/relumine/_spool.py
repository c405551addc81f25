"""Uploads on disk: append-only frames of length, CRC and body, one file per process. No locks, no database."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from relumine._transport import Transport, TransportError
from relumine.views import Accepted

HEADER = struct.Struct("<II")
SUFFIX = ".uploads"
MAX_BYTES = 1 << 30  # of one process; what comes after is dropped and counted


class Spool:
    """An append-only file of uploads; made when it is first needed, gone when all of it was sent."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None

    def append(self, body: bytes) -> int:
        """Write one frame whole; returns where it begins. Raises OSError where the disk refuses, or the file is full.

        What a refusal left behind is cut off: a torn frame would hide those after it.
        """
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        start = self._file.tell()
        if start + len(body) > self._max_bytes:
            raise OSError(f"{self.path} has reached {self._max_bytes:,} bytes")
        try:
            self._file.write(HEADER.pack(len(body), zlib.crc32(body)) + body)
            self._file.flush()
        except OSError:
            self._forget(start)
            raise
        return start

    def _forget(self, start: int) -> None:
        """Close the file without what could not be written."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            pass  # the same refusal again
        with self.path.open("r+b") as torn:
            torn.truncate(start)

    def read(self, start: int) -> bytes | None:
        """The body of the frame at ``start``; None where the file no longer holds it whole."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return next(_frames(file), None)
        except OSError:
            return None

    def delete(self) -> None:
        """All of it was sent."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Waiting(NamedTuple):
    """An upload on disk: where, how many looks and records it holds, and which number it comes after."""

    start: int
    looks: int
    records: int
    after: int


class Upload(Protocol):
    """What a backlog keeps of an upload."""

    @property
    def body(self) -> bytes: ...
    @property
    def looks(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def after(self) -> int: ...


class Backlog:
    """The uploads of this process that wait on disk for the server, oldest first."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def looks(self) -> int:
        """How many looks wait."""
        return sum(one.looks for one in self._waiting)

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(one.records for one in self._waiting)

    def add(self, upload: Upload) -> None:
        """Keep an upload. Raises OSError where the disk does not take it."""
        self._waiting.append(self._on_disk(upload))

    def _on_disk(self, upload: Upload) -> Waiting:
        return Waiting(self._spool.append(upload.body), upload.looks, upload.records, upload.after)

    def first(self) -> tuple[Waiting, bytes | None]:
        """The oldest one; None for its body where the disk lost it."""
        return self._waiting[0], self._spool.read(self._waiting[0].start)

    def replace_first(self, parts: Sequence[Upload]) -> None:
        """Put parts of the oldest one in its place; nothing where there are none. Raises OSError as ``add``."""
        if not parts:
            return
        kept = [self._on_disk(part) for part in parts]
        self._waiting.popleft()
        self._waiting.extendleft(reversed(kept))

    def done(self) -> None:
        """The oldest one was answered. The file goes when the last one was."""
        self._waiting.popleft()
        if not self._waiting:
            self._spool.delete()

    def close(self) -> None:
        """Leave on disk what waits."""
        self._spool.close()


def frames(path: Path) -> Iterator[bytes]:
    """The bodies of a file, up to the first frame that is torn or does not check."""
    with path.open("rb") as file:
        yield from _frames(file)


def _frames(file: BinaryIO) -> Iterator[bytes]:
    while len(header := file.read(HEADER.size)) == HEADER.size:
        length, checksum = HEADER.unpack(header)
        body = file.read(length)
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body


class SpoolTransport:
    """Keeps uploads on disk instead of sending them."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path)

    def post(self, body: bytes) -> Accepted:
        """Append one upload. Raises TransportError where the disk refuses."""
        try:
            self._spool.append(body)
        except OSError as error:
            raise TransportError(str(error), retryable=False) from error
        return Accepted(accepted=0, duplicate=False, every=None, alerts=[])

    def close(self) -> None:
        """Close the file."""
        self._spool.close()


def send_all(directory: Path, transport: Transport) -> tuple[int, list[str]]:
    """Send every kept upload below a folder, file by file in order; a file is deleted when all of it was accepted.

    Sending again what the server has already does no harm. Returns how many uploads were accepted, and why files
    were kept.
    """
    sent, problems = 0, []
    for path in sorted(directory.rglob(f"*{SUFFIX}")):
        try:
            for body in frames(path):
                transport.post(body)
                sent += 1
        except (TransportError, OSError) as error:
            problems.append(f"{path}: {error}")
            continue
        path.unlink(missing_ok=True)
    return sent, problems
