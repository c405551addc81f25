"""``relumine sync``: sends spooled uploads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from relumine._cli.connection import CommandError
from relumine._cli.output import print_error, print_json, print_line
from relumine._cli.progress import ProgressLine

if TYPE_CHECKING:
    from relumine._export.sync import SyncResult


def run_sync(options: argparse.Namespace) -> int:
    """Send what is spooled in a folder; return the exit status."""
    from relumine._export.private_files import check_folder
    from relumine._export.sync import send_spooled
    from relumine._export.transport import HttpTransport
    from relumine._runtime.settings import resolve_settings
    from relumine.errors import RelumineError

    try:
        settings = resolve_settings(url=options.url)
        folder = Path(options.directory) if options.directory else settings.directory
        if options.directory and not folder.is_dir():
            raise CommandError(f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}")
        if not options.directory and folder.exists():
            check_folder(folder)
    except (RelumineError, OSError) as error:
        print_error(error)
        return 2
    transport = HttpTransport(settings, is_replayed=True)
    with ProgressLine() as line:
        result = send_spooled(folder, transport, lambda result: line.show(_progress(result)))
    transport.close()
    _print_problems(result)
    if options.json:
        print_json(_as_dict(result, settings.url))
    else:
        print_line(_summary(result, folder, settings.url))
    return 1 if result.problems else 0


def _print_problems(result: SyncResult) -> None:
    for note in result.notes:
        print_error(note)
    for problem in result.problems:
        print_error(f"not sent: {problem}")
    if result.hint:
        print_error(result.hint)


def _progress(result: SyncResult) -> str:
    return f"file {result.file_number:,} of {result.files:,}, {result.accepted:,} uploads accepted"


def _as_dict(result: SyncResult, url: str) -> dict[str, object]:
    return {
        "url": url,
        "files": result.files,
        "accepted": result.accepted,
        "problems": result.problems,
        "notes": result.notes,
    }


def _summary(result: SyncResult, folder: Path, url: str) -> str:
    if result.files == 0 and not folder.exists():
        return f"Nothing to send: there is no folder {folder}."
    if result.files == 0:
        return f"Nothing to send: {folder} holds no uploads."
    return f"{result.accepted} uploads accepted by {url}"
