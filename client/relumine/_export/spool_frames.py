"""The format of spool files: frames of length, checksum, marker and body. Pure; a damaged frame hides no other.

The marker is white space to JSON, and never part of a body: JSON text without indentation has no line feed. It is where
the search for the next frame goes on after a damaged one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

HEADER = struct.Struct("<II")
MARKER = b"\n\r\t\n\n\t\r\n"

# The size of one process's file, so of any frame in it.
MAX_BYTES = 1 << 30

_BLOCK = 1 << 20


class Frame(NamedTuple):
    """A part of a file from ``start`` to ``end``: an intact frame with its ``body``, or bytes that are none.

    ``is_torn``: it is at the end of the file, and may be a frame that is not fully written yet.
    """

    start: int
    end: int
    body: bytes | None
    is_torn: bool = False


def encode(body: bytes) -> bytes:
    """Return the frame of a body."""
    marked = MARKER + body
    return HEADER.pack(len(marked), zlib.crc32(marked)) + marked


def read_frame(file: BinaryIO, start: int, size: int) -> Frame | None:
    """Return the intact frame at ``start`` of a file of ``size`` bytes; None where there is none."""
    file.seek(start)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, checksum = HEADER.unpack(header)
    end = start + HEADER.size + length
    if not length or end > size:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    return Frame(start, end, body.removeprefix(MARKER))


def read_frames(file: BinaryIO, start: int = 0) -> Iterator[Frame]:
    """Yield every intact frame from ``start`` on, and the damaged bytes between them."""
    size = file.seek(0, os.SEEK_END)
    while start < size:
        frame = read_frame(file, start, size)
        if frame is None:
            following = _next_frame(file, start, size)
            end = size if following is None else following.start
            yield Frame(start, end, None, is_torn=following is None and _is_cut_off(file, start, size))
            frame = following
        if frame is None:
            return
        yield frame
        start = frame.end


def _next_frame(file: BinaryIO, damaged: int, size: int) -> Frame | None:
    """Return the first intact frame behind the one at ``damaged``."""
    neighbour = _neighbour(file, damaged, size)
    for marker in _markers(file, damaged + HEADER.size + 1, size):
        start = marker - HEADER.size
        if neighbour is not None and start >= neighbour.start:
            break
        frame = read_frame(file, start, size)
        if frame is not None:
            return frame
    return neighbour


def _neighbour(file: BinaryIO, damaged: int, size: int) -> Frame | None:
    """Return the intact frame that begins where the damaged one says that it ends."""
    file.seek(damaged)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    end = damaged + HEADER.size + HEADER.unpack(header)[0]
    return read_frame(file, end, size) if end < size else None


def _markers(file: BinaryIO, start: int, size: int) -> Iterator[int]:
    """Yield the offsets of all markers from ``start`` on."""
    overlap = len(MARKER) - 1
    while start < size:
        file.seek(start)
        block = file.read(_BLOCK + overlap)
        index = block.find(MARKER)
        while index >= 0:
            yield start + index
            index = block.find(MARKER, index + 1)
        start += _BLOCK


def _is_cut_off(file: BinaryIO, start: int, size: int) -> bool:
    """Return True if the bytes from ``start`` to the end can be the beginning of a frame."""
    file.seek(start)
    beginning = file.read(HEADER.size + len(MARKER))
    if len(beginning) <= HEADER.size:
        return True
    length = HEADER.unpack(beginning[: HEADER.size])[0]
    is_marked = MARKER.startswith(beginning[HEADER.size :])
    return is_marked and length <= MAX_BYTES and start + HEADER.size + length > size
