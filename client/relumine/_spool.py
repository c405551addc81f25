"""Uploads on disk: append-only frames of length, CRC and body, one file per process. No locks, no database."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from relumine._transport import Transport, TransportError
from relumine.views import Accepted

HEADER = struct.Struct("<II")
SUFFIX = ".uploads"
MAX_BYTES = 1 << 30  # of one process; what comes after is dropped and counted


class Spool:
    """An append-only file of uploads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def append(self, body: bytes) -> None:
        """Write one frame whole. Raises OSError where the disk does not take it, or the file is full."""
        if self._file.tell() + len(body) > MAX_BYTES:
            raise OSError(f"{self._file.name} has reached {MAX_BYTES:,} bytes")
        self._file.write(HEADER.pack(len(body), zlib.crc32(body)) + body)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def frames(path: Path) -> Iterator[bytes]:
    """The bodies of a file, up to the first frame that is torn or does not check."""
    with path.open("rb") as file:
        while len(header := file.read(HEADER.size)) == HEADER.size:
            length, checksum = HEADER.unpack(header)
            body = file.read(length)
            if len(body) < length or zlib.crc32(body) != checksum:
                return
            yield body


class SpoolTransport:
    """Keeps uploads on disk instead of sending them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = 0
        self._spool: Spool | None = None

    def post(self, body: bytes) -> Accepted:
        """Append one upload. Raises TransportError where the disk refuses."""
        try:
            self._spool = self._spool or Spool(self.path)
            self._spool.append(body)
        except OSError as error:
            raise TransportError(str(error), retryable=False) from error
        self.kept += 1
        return Accepted(accepted=0, duplicate=False, every=None, alerts=[])

    def close(self) -> None:
        """Close the file."""
        if self._spool is not None:
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
        except TransportError as error:
            problems.append(f"{path}: {error}")
            continue
        path.unlink()
    return sent, problems
