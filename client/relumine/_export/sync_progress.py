"""Progress of ``relumine sync`` in a file that a training still writes, kept in a small file beside it."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

from relumine._export.private_files import open_to_append, open_to_read
from relumine._export.spool import progress_path

# The bytes before the position by which a file is recognised: a checksum of the last frame is among them.
_CONTEXT = 4_096


def load_progress(path: Path, file: io.FileIO) -> int:
    """Return the offset up to which the file was sent; 0 where that is unknown, or said of another file."""
    try:
        with open_to_read(progress_path(path)) as progress:
            saved = json.loads(progress.read(1_000))
        position = int(saved["position"])
        is_of_file = saved["checksum"] == _checksum(file, position)
    except (OSError, ValueError, TypeError, LookupError, OverflowError):
        return 0
    return position if is_of_file else 0


def save_progress(path: Path, file: io.FileIO, position: int) -> None:
    """Remember the offset up to which the file was sent. Raises OSError."""
    content = json.dumps({"position": position, "checksum": _checksum(file, position)}).encode()
    with open_to_append(progress_path(path)) as progress:
        progress.truncate(0)
        progress.write(content)


def _checksum(file: io.FileIO, position: int) -> int | None:
    """Return the checksum of the bytes before ``position``; None where the file is shorter."""
    start = max(0, position - _CONTEXT)
    file.seek(start)
    context = file.read(position - start)
    return zlib.crc32(context) if position > 0 and len(context) == position - start else None
