"""Uploads on disk: append-only frames of length, CRC and body, one file per process. No locks, no database."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from relumine._export.transport import Transport, TransportError
from relumine._export.upload_builder import EncodedUpload
from relumine.schemas.upload import UploadResponse

HEADER = struct.Struct("<II")
SUFFIX = ".uploads"

# The size of one process's file. Uploads beyond it are dropped and counted.
MAX_BYTES = 1 << 30


class Spool:
    """An append-only file of uploads, created with the first one and deleted once all of them were sent."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None

    def append(self, body: bytes) -> int:
        """Write one frame; return its offset.

        Raises:
            OSError: the disk refused, or the file is full. The file is as before then: a torn frame would hide those
                behind it.
        """
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        offset = self._file.tell()
        if offset + len(body) > self._max_bytes:
            raise OSError(f"{self.path} has reached {self._max_bytes:,} bytes")
        try:
            self._file.write(HEADER.pack(len(body), zlib.crc32(body)) + body)
            self._file.flush()
        except OSError:
            self._truncate_to(offset)
            raise
        return offset

    def _truncate_to(self, offset: int) -> None:
        """Close the file and cut off what was written after ``offset``."""
        file = self._file
        self._file = None
        try:
            if file is not None:
                file.close()
        except OSError:
            pass  # closing flushes, which the disk refuses again
        with self.path.open("r+b") as torn:
            torn.truncate(offset)

    def read(self, offset: int) -> bytes | None:
        """Return the body of the frame at ``offset``; None where the file does not hold it intact."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return next(_read_frames(file), None)
        except OSError:
            return None

    def delete(self) -> None:
        """Delete the file: all of it was sent."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and leave it on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None


class SpooledUpload(NamedTuple):
    """An upload on disk: its offset in the file, and what it counts for, as in ``EncodedUpload``."""

    offset: int
    sampled_steps: int
    records: int
    previous_seq: int


class Backlog:
    """The spooled uploads of this process, oldest first."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._uploads: deque[SpooledUpload] = deque()

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def sampled_steps(self) -> int:
        """The number of sampled steps on disk."""
        return sum(upload.sampled_steps for upload in self._uploads)

    def add(self, upload: EncodedUpload) -> None:
        """Write an upload to disk. Raises OSError as ``Spool.append``."""
        self._uploads.append(self._write(upload))

    def _write(self, upload: EncodedUpload) -> SpooledUpload:
        offset = self._spool.append(upload.body)
        return SpooledUpload(offset, upload.sampled_steps, upload.records, upload.previous_seq)

    def first(self) -> tuple[SpooledUpload, bytes | None]:
        """Return the oldest upload and its body, which is None where the disk lost it."""
        oldest = self._uploads[0]
        return oldest, self._spool.read(oldest.offset)

    def replace_first(self, parts: Sequence[EncodedUpload]) -> None:
        """Put parts of the oldest upload in its place. Raises OSError as ``Spool.append``."""
        written = [self._write(part) for part in parts]
        self._uploads.popleft()
        self._uploads.extendleft(reversed(written))

    def remove_first(self) -> None:
        """Remove the oldest upload, which needs no further try. The file is deleted with the last one."""
        self._uploads.popleft()
        if not self._uploads:
            self._spool.delete()

    def close(self) -> None:
        """Close the file and leave on disk what was not sent."""
        self._spool.close()


def frames(path: Path) -> Iterator[bytes]:
    """Yield the bodies in a file, up to the first frame that is torn or fails its checksum."""
    with path.open("rb") as file:
        yield from _read_frames(file)


def _read_frames(file: BinaryIO) -> Iterator[bytes]:
    while len(header := file.read(HEADER.size)) == HEADER.size:
        length, checksum = HEADER.unpack(header)
        body = file.read(length)
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body


class OfflineTransport:
    """A transport that writes uploads to disk and sends nothing."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path)

    def post(self, body: bytes) -> UploadResponse:
        """Append one upload. Raises TransportError where the disk refuses."""
        try:
            self._spool.append(body)
        except OSError as error:
            raise TransportError(str(error), retryable=False) from error
        return UploadResponse(accepted=0, analyzed=True, duplicate=False, sample_every=None, alerts=[])

    def close(self) -> None:
        """Close the file."""
        self._spool.close()


def replay(directory: Path, transport: Transport) -> tuple[int, list[str]]:
    """Send every spooled upload below a folder, file by file, in order.

    A file is deleted once all of it was accepted. Sending an upload again that the server has already does no harm.
    Returns the number of accepted uploads, and for each file that remains the reason.
    """
    accepted = 0
    problems = []
    for path in sorted(directory.rglob(f"*{SUFFIX}")):
        try:
            for body in frames(path):
                transport.post(body)
                accepted += 1
        except (TransportError, OSError) as error:
            problems.append(f"{path}: {error}")
            continue
        path.unlink(missing_ok=True)
    return accepted, problems
