"""Uploads on disk: one append-only file of frames per process, which ``relumine sync`` may read meanwhile."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from relumine._export import spool_frames
from relumine._export.file_locks import lock_for_writing
from relumine._export.private_files import (
    UnsafePathError,
    append_all,
    create_folder,
    is_in_place,
    open_to_append,
    open_to_read,
)
from relumine._export.transport import TransportError
from relumine._export.upload_builder import EncodedUpload
from relumine._runtime.process import register_at_fork
from relumine.schemas.upload import UploadResponse

SUFFIX = ".uploads"

# The name of a file with uploads that are too large for a server; ``relumine sync`` sends it after the others.
LARGE_SUFFIX = f"~large{SUFFIX}"

# Beside a file of uploads: how far ``relumine sync`` has sent it.
PROGRESS_SUFFIX = ".sent"

# The size of one process's file. Uploads beyond it are dropped and counted.
MAX_BYTES = spool_frames.MAX_BYTES


class FrameLocation(NamedTuple):
    """The place of a frame: an open file, which is readable also after it was renamed or deleted, and the offset."""

    file: io.FileIO
    offset: int


class Spool:
    """An append-only file of uploads, created with the first one and deleted once all of them were sent.

    ``path`` is ``RELUMINE_DIR/<run>/<session>.uploads``: both folders are created for this user alone.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file: io.FileIO | None = None
        self._taken: list[io.FileIO] = []  # files that were renamed or deleted; what they hold can still be read
        self._is_locked = False
        register_at_fork(self)

    @property
    def is_empty(self) -> bool:
        """True if the next upload will be the first of its file."""
        return self._file is None or not os.fstat(self._file.fileno()).st_size

    def append(self, body: bytes) -> int:
        """Write one frame, which is not read back; return its offset. Raises OSError as ``write``."""
        offset = self.write(body).offset
        self._close_taken()
        return offset

    def write(self, body: bytes) -> FrameLocation:
        """Write one frame; return its location.

        Raises:
            OSError: the folder is not safe, the disk refused, or the file is full. The file is as before then.
        """
        location = self._append(body)
        if is_in_place(location.file, self.path):
            return location
        # ``relumine sync`` of a machine that sees no locks took the file, or someone deleted it, perhaps before this
        # frame was written. The new file has the frame again: the server takes it once.
        self._file = None
        self._is_locked = False
        self._taken.append(location.file)
        return self._append(body)

    def _append(self, body: bytes) -> FrameLocation:
        file = self._file or self._open()
        self._is_locked = self._is_locked or lock_for_writing(file)  # a sync may have had it for a moment
        frame = spool_frames.encode(body)
        if os.fstat(file.fileno()).st_size + len(frame) > self._max_bytes:
            raise OSError(f"{self.path} has reached {self._max_bytes:,} bytes")
        return FrameLocation(file, append_all(file, frame))

    def _open(self) -> io.FileIO:
        create_folder(self.path.parent.parent)
        create_folder(self.path.parent)
        self._file = open_to_append(self.path)
        return self._file

    def delete(self) -> None:
        """Delete the file: all of it was sent."""
        if self._file is not None and is_in_place(self._file, self.path):
            self.path.unlink(missing_ok=True)
            progress_path(self.path).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file and leave it on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._is_locked = False
        self._close_taken()

    def _close_taken(self) -> None:
        while self._taken:
            self._taken.pop().close()

    def detach_in_child(self) -> None:
        """Close the file in a forked child, so that it does not count as being written for as long as that lives."""
        self.close()


def progress_path(path: Path) -> Path:
    """Return the file that remembers how far a file of uploads was sent."""
    return path.with_name(path.name + PROGRESS_SUFFIX)


class SpoolError(TransportError):
    """An upload was not written to disk. ``reason`` is that under which it is counted."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error), retryable=False)
        self.reason = drop_reason(error)


def drop_reason(error: OSError) -> str:
    """Return the reason under which uploads are counted that the spool did not take."""
    return "spool_unsafe" if isinstance(error, UnsafePathError) else "spool_full"


class SpooledUpload(NamedTuple):
    """An upload on disk: its location, and what it counts for, as in ``EncodedUpload``."""

    location: FrameLocation
    sampled_steps: int
    records: int
    previous_seq: int


class Backlog:
    """The spooled uploads of this process, oldest first, and apart from them those that are too large to be sent."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._large = Spool(spool.path.with_name(spool.path.name.removesuffix(SUFFIX) + LARGE_SUFFIX))
        self._uploads: deque[SpooledUpload] = deque()
        self.large_uploads = 0
        """The number of uploads on disk that were too large."""

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self._spool.path.parent

    @property
    def sampled_steps(self) -> int:
        """The number of sampled steps on disk."""
        return sum(upload.sampled_steps for upload in self._uploads)

    @property
    def begins_file(self) -> bool:
        """True if the next upload will be the first of its file."""
        return self._spool.is_empty

    def add(self, upload: EncodedUpload) -> SpooledUpload:
        """Write an upload to disk. Raises OSError as ``Spool.write``."""
        spooled = self._write(upload)
        self._uploads.append(spooled)
        return spooled

    def _write(self, upload: EncodedUpload) -> SpooledUpload:
        location = self._spool.write(upload.body)
        return SpooledUpload(location, upload.sampled_steps, upload.records, upload.previous_seq)

    def first(self) -> tuple[SpooledUpload, bytes | None]:
        """Return the oldest upload and its body, which is None where the disk lost it."""
        oldest = self._uploads[0]
        return oldest, _read(oldest.location)

    def replace_first(self, parts: Sequence[EncodedUpload]) -> None:
        """Put parts of the oldest upload in its place. Raises OSError as ``Spool.write``."""
        written = [self._write(part) for part in parts]
        self._uploads.popleft()
        self._uploads.extendleft(reversed(written))

    def remove_first(self) -> None:
        """Remove the oldest upload, which needs no further try. The file is deleted with the last one."""
        self._uploads.popleft()
        if not self._uploads:
            self._spool.delete()

    def add_large(self, body: bytes) -> None:
        """Keep an upload that is too large for the server on disk. Raises OSError as ``Spool.write``."""
        self._large.append(body)
        self.large_uploads += 1

    def close(self) -> None:
        """Close the files and leave on disk what was not sent."""
        self._spool.close()
        self._large.close()


def _read(location: FrameLocation) -> bytes | None:
    try:
        size = os.fstat(location.file.fileno()).st_size
        frame = spool_frames.read_frame(location.file, location.offset, size)
    except (OSError, ValueError):  # a closed file: the closing thread has taken over
        return None
    return None if frame is None else frame.body


def frames(path: Path) -> Iterator[bytes]:
    """Yield the bodies of the intact frames in a file."""
    with open_to_read(path) as file:
        for frame in spool_frames.read_frames(file):
            if frame.body is not None:
                yield frame.body


class OfflineTransport:
    """A transport that writes uploads to disk and sends nothing."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path)

    def post(self, body: bytes) -> UploadResponse:
        """Append one upload. Raises SpoolError where the disk refuses."""
        try:
            self._spool.append(body)
        except OSError as error:
            raise SpoolError(error) from error
        return UploadResponse(accepted=0, analyzed=True, duplicate=False, sample_every=None, alerts=[])

    def close(self) -> None:
        """Close the file."""
        self._spool.close()
