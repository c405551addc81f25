"""``relumine sync``: sends spooled uploads, file by file, also beside the trainings that write them.

A file is deleted only after every upload in it was accepted, and while no process writes to it. Nothing that was not
accepted is deleted: damaged bytes and refused uploads are moved to files of their own.
"""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from relumine._export.file_locks import is_locked_by_writer
from relumine._export.private_files import append_all, open_to_append, open_to_read, reason_of
from relumine._export.spool import LARGE_SUFFIX, PROGRESS_SUFFIX, SUFFIX, progress_path
from relumine._export.spool_contents import (
    Entry,
    SpooledDescriptions,
    ends_at,
    holds_no_upload,
    read_entries,
    sending_order,
)
from relumine._export.spool_frames import encode
from relumine._export.sync_progress import load_progress, save_progress
from relumine._export.transport import Transport, TransportError
from relumine._export.upload_split import UploadPart, is_smallest_part, split_upload, with_descriptions
from relumine._runtime.text import plural

# Beside a file of uploads: bytes in it that are no upload, and uploads that the server will never accept.
DAMAGED_SUFFIX = ".damaged"
REFUSED_SUFFIX = ".refused"

# How often an upload is sent to a server that is busy, and the longest pause in between.
BUSY_TRIES = 4
MAX_PAUSE_S = 5.0


def _ignore(_result: SyncResult) -> None:
    """Show no progress."""


@dataclass
class SyncResult:
    """The number of accepted uploads, and a sentence for each that was not, or for its file.

    ``file_number`` of ``files`` is the file that is being sent. ``hint`` says what helps where the server is away or
    refuses the key; empty where nothing does.
    """

    accepted: int = 0
    files: int = 0
    file_number: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hint: str = ""
    on_progress: Callable[[SyncResult], None] = field(default=_ignore, repr=False)

    def count_accepted(self) -> None:
        """Count an upload that the server has accepted."""
        self.accepted += 1
        self.on_progress(self)


def send_spooled(
    directory: Path, transport: Transport, on_progress: Callable[[SyncResult], None] = _ignore
) -> SyncResult:
    """Send every spooled upload below a folder, in order. Safe to repeat: the server takes each upload once.

    ``on_progress`` is called with the result so far, for each file and each upload.
    """
    result = SyncResult(on_progress=on_progress)
    paths = sorted(_files_below(directory, SUFFIX, result), key=_order)
    result.files = len(paths)
    for number, path in enumerate(paths, 1):
        result.file_number = number
        on_progress(result)
        try:
            with open_to_read(path) as file:
                _FileSync(path, file, transport, result).run()
        except FileNotFoundError:
            continue  # its training has sent the rest, and deleted it
        except OSError as error:
            result.problems.append(f"{path}: {reason_of(error, path)}")
    for progress in _files_below(directory, f"{SUFFIX}{PROGRESS_SUFFIX}", SyncResult()):
        if not progress.with_name(progress.name.removesuffix(PROGRESS_SUFFIX)).exists():
            progress.unlink(missing_ok=True)
    return result


def _files_below(directory: Path, suffix: str, result: SyncResult) -> Iterator[Path]:
    """Yield the files of a suffix below a folder, and note the folders that cannot be read."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            result.problems.append(f"{error.filename}: {reason_of(error, Path(error.filename))}")

    for folder, _, names in os.walk(directory, onerror=note):
        yield from (Path(folder, name) for name in names if name.endswith(suffix))


def _order(path: Path) -> tuple[str, bool, str]:
    """Sort files by folder and session; those with uploads that were too large come last."""
    return str(path.parent), path.name.endswith(LARGE_SUFFIX), path.name


class _Leftover(NamedTuple):
    """An upload that the server will not accept as it is: the kind of file to keep it in, and the reason."""

    body: bytes
    suffix: str
    reason: str


class _FileSync:
    """Sends one file."""

    def __init__(self, path: Path, file: io.FileIO, transport: Transport, result: SyncResult) -> None:
        self._path = path
        self._file = file
        self._transport = transport
        self._result = result
        self._is_written = is_locked_by_writer(file)
        self._is_large = path.name.endswith(LARGE_SUFFIX)
        self._descriptions = SpooledDescriptions(path, file)
        self._divides_units = True  # until the smallest part of a record was too large

    def run(self) -> None:
        """Send what was not sent yet; delete the file if that is all and no process writes to it."""
        position = load_progress(self._path, self._file)
        entries = read_entries(self._file, position)
        if position == 0 and holds_no_upload(entries) and not self._is_written:
            self._result.problems.append(f"{self._path}: holds no upload, and is left as it is")
            return
        position = self._send(entries, position)
        if self._is_written:
            save_progress(self._path, self._file, position)
            self._result.notes.append(f"{self._path}: a process still writes to it; sent up to now")
        elif position < ends_at(self._file):
            save_progress(self._path, self._file, position)
        else:
            self._delete(position)

    def _delete(self, position: int) -> None:
        """Delete the file, unless a process whose lock is not seen here has gone on writing to it.

        Such a process looks for its file after each write, and writes again what it wrote to one that was renamed. So
        what is behind ``position`` now either was written before, and is sent here, or will be written again.
        """
        stem = self._path.name.removesuffix(SUFFIX)
        claimed = self._path
        if not self._is_large:
            claimed = self._path.with_name(f"{stem}.{secrets.token_hex(4)}{SUFFIX}")
            self._path.rename(claimed)
        progress_path(self._path).unlink(missing_ok=True)
        self._path = claimed
        position = self._send(read_entries(self._file, position), position)
        if position < ends_at(self._file):
            save_progress(self._path, self._file, position)
        else:
            self._path.unlink(missing_ok=True)

    def _send(self, entries: Sequence[Entry], position: int) -> int:
        """Send uploads; return the offset in the file up to which nothing remains to be done."""
        leftovers: dict[int, list[_Leftover]] = {}
        for entry in sending_order(entries):
            if entry.is_superseded:
                leftovers[entry.start] = []
            elif not self._send_entry(entry, leftovers):
                break
        for entry in entries:
            is_unfinished = self._is_written and not entry.is_upload and entry.end == ends_at(self._file)
            if is_unfinished or (entry.is_upload and entry.start not in leftovers):
                break
            self._move_leftovers(entry, leftovers.get(entry.start, []))
            position = entry.end
        return position

    def _move_leftovers(self, entry: Entry, refused: Sequence[_Leftover]) -> None:
        """Move what the server did not accept, or what is no upload, to files of their own."""
        for leftover in refused:
            self._move(encode(leftover.body), leftover.suffix, leftover.reason)
        if not entry.is_upload:
            what = "its last upload was not fully written" if entry.is_torn else "a part of it is damaged"
            self._move(entry.read_raw(self._file), DAMAGED_SUFFIX, what)

    def _send_entry(self, entry: Entry, leftovers: dict[int, list[_Leftover]]) -> bool:
        """Send an upload, and note what the server refuses for good; return False if the file has to wait."""
        body = entry.read(self._file)
        if body is None:
            return False
        refused: list[_Leftover] = []
        try:
            self._post(body, entry.previous_seq, refused)
        except TransportError as error:
            self._result.problems.append(f"{self._path}: {error}")
            self._result.hint = error.hint or self._result.hint
            return False
        too_large = [leftover for leftover in refused if leftover.suffix == LARGE_SUFFIX]
        if too_large and self._is_large:
            self._result.problems.append(f"{self._path}: {too_large[0].reason}")
            return False
        leftovers[entry.start] = refused
        return True

    def _post(self, body: bytes, previous_seq: int, refused: list[_Leftover]) -> None:
        """Send an upload, in parts where it is too large. Raises TransportError where a later try may succeed."""
        try:
            self._post_described(body)
        except TransportError as error:
            if error.retryable:
                raise
            parts = _parts(body, previous_seq, divides_units=self._divides_units) if error.too_large else []
            for part in parts:
                self._post(part.body, part.previous_seq, refused)
            if not parts and error.too_large:
                self._divides_units = self._divides_units and not _is_part(body)
                refused.append(_Leftover(body, LARGE_SUFFIX, f"{error}; the upload has {len(body):,} bytes"))
            elif not parts:
                refused.append(_Leftover(body, REFUSED_SUFFIX, str(error)))
        else:
            self._result.count_accepted()

    def _post_described(self, body: bytes) -> None:
        """Send an upload, and once more with everything described if the server lacks a description."""
        try:
            self._post_patiently(body)
        except TransportError as error:
            complete = with_descriptions(body, *self._descriptions.load()) if error.lacks_description else None
            if complete is None:
                raise
            self._post_patiently(complete)

    def _post_patiently(self, body: bytes) -> None:
        """Send an upload, again after a pause where the server asks for one."""
        for remaining in reversed(range(BUSY_TRIES)):
            try:
                self._transport.post(body)
            except TransportError as error:
                if not remaining or not error.retryable or error.retry_after_s is None:
                    raise
                time.sleep(min(error.retry_after_s, MAX_PAUSE_S))  # the server asked for it
            else:
                return

    def _move(self, content: bytes, suffix: str, reason: str) -> None:
        name = self._append_beside(suffix, content)
        self._result.problems.append(f"{self._path}: {reason}; {plural(len(content), 'byte')} moved to {name}")

    def _append_beside(self, suffix: str, content: bytes) -> str:
        """Append to a file beside this one; return its name."""
        path = self._path.with_name(self._path.name.removesuffix(SUFFIX) + suffix)
        with open_to_append(path) as file:
            append_all(file, content)
            os.fsync(file.fileno())
        return path.name


def _parts(body: bytes, previous_seq: int, *, divides_units: bool) -> list[UploadPart]:
    try:
        return split_upload(body, previous_seq, divides_units=divides_units)
    except (ValueError, TypeError, LookupError):  # it is no upload
        return []


def _is_part(body: bytes) -> bool:
    try:
        return is_smallest_part(body)
    except (ValueError, AttributeError):  # it is no upload
        return False
