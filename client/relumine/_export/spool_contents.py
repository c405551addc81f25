"""The contents of a spool file as ``relumine sync`` sees them: uploads in the order to send them, and damaged bytes."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relumine._export import spool_frames
from relumine._export.private_files import open_to_read
from relumine._export.upload_split import previous_seq_of


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of a file: an upload of a session with a number, or bytes that are none.

    ``is_superseded``: a later one has the same number, as the upload was cut into parts that are in the file too.
    """

    start: int
    end: int
    is_upload: bool
    is_torn: bool = False
    session: str = ""
    seq: int = 0
    previous_seq: int = 0
    is_superseded: bool = False

    def read(self, file: io.FileIO) -> bytes | None:
        """Return the body; None where the file does not hold it any more."""
        frame = spool_frames.read_frame(file, self.start, self.end)
        return None if frame is None else frame.body

    def read_raw(self, file: io.FileIO) -> bytes:
        """Return the bytes."""
        file.seek(self.start)
        return file.read(self.end - self.start)


def ends_at(file: io.FileIO) -> int:
    """Return the present size of a file."""
    return os.fstat(file.fileno()).st_size


def read_entries(file: io.FileIO, position: int) -> list[Entry]:
    """Return what a file holds from ``position`` on."""
    entries = [_entry(frame) for frame in spool_frames.read_frames(file, position)]
    latest = {(entry.session, entry.seq): entry.start for entry in entries if entry.seq}
    return [
        replace(entry, is_superseded=bool(entry.seq) and latest[entry.session, entry.seq] != entry.start)
        for entry in entries
    ]


def _entry(frame: spool_frames.Frame) -> Entry:
    if frame.body is None:
        return Entry(frame.start, frame.end, is_upload=False, is_torn=frame.is_torn)
    try:
        payload = json.loads(frame.body)
        session = str(payload["session"])
        return Entry(
            frame.start,
            frame.end,
            is_upload=True,
            session=session,
            seq=int(payload["seq"]),
            previous_seq=previous_seq_of(payload),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # the server says what is wrong
        return Entry(frame.start, frame.end, is_upload=True)


def holds_no_upload(entries: Sequence[Entry]) -> bool:
    """Return True for a file that something else than a training wrote."""
    is_beginning = len(entries) == 1 and entries[0].is_torn and entries[0].end > spool_frames.HEADER.size
    return bool(entries) and not is_beginning and not any(entry.is_upload for entry in entries)


def sending_order(entries: Sequence[Entry]) -> list[Entry]:
    """Return the uploads session by session, ordered by number: parts of an upload were appended behind later ones."""
    rank: dict[str, int] = {}
    uploads = [entry for entry in entries if entry.is_upload]
    for entry in uploads:
        rank.setdefault(entry.session, len(rank))
    return sorted(uploads, key=lambda entry: (rank[entry.session], entry.seq))


class SpooledDescriptions:
    """The layers and the coverage that the uploads of a file describe, completed from other files of its run."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self._loaded: tuple[list[dict[str, Any]], dict[str, Any] | None] | None = None

    def load(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Return the descriptions of layers, and of the coverage where one is there."""
        if self._loaded is None:
            layers: dict[int, dict[str, Any]] = {}
            coverage = None
            for payload in self._payloads():
                layers.update((layer["layer_id"], layer) for layer in payload.get("layers") or [])
                coverage = payload.get("coverage") or coverage
            self._loaded = (list(layers.values()), coverage)
        return self._loaded

    def _payloads(self) -> Iterator[dict[str, Any]]:
        """Yield the uploads of the other files, then those of this one: what it says itself is what counts."""
        for path in sorted(self._path.parent.glob("*")):
            if path != self._path and path.is_file():
                try:
                    with open_to_read(path) as file:
                        yield from _payloads_in(file)
                except OSError:
                    continue
        yield from _payloads_in(self._file)


def _payloads_in(file: io.FileIO) -> Iterator[dict[str, Any]]:
    for frame in spool_frames.read_frames(file):
        try:
            payload = json.loads(frame.body or b"null")
        except (ValueError, RecursionError):
            continue
        if isinstance(payload, dict) and payload.keys() >= {"run", "session", "seq"}:
            yield payload
