"""Uploads on disk: append-only frames of length, CRC and body, one file per process. No locks, no database."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

HEADER = struct.Struct("<II")


class Spool:
    """An append-only file of uploads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def append(self, body: bytes) -> None:
        """Write one frame whole. Raises OSError where the disk does not take it."""
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
