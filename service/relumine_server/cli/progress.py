"""The progress of long work in one line of the terminal. Nothing is written where standard error is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from relumine.schemas.printable import printable

# How often the line is written again. Work that ends sooner shows none.
INTERVAL_S = 0.5

CLEAR_LINE = "\r\x1b[K"


@contextmanager
def progress(work: str, detail: Callable[[], str] = str) -> Iterator[None]:
    """Show the work, what ``detail`` returns, and the seconds it has taken, until the block ends.

    ``detail`` is called by another thread.
    """
    if not sys.stderr.isatty():
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_write_lines, args=(work, detail, is_over), name="relumine-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _write_lines(work: str, detail: Callable[[], str], is_over: threading.Event) -> None:
    start = time.monotonic()
    has_line = False
    while not is_over.wait(INTERVAL_S):
        parts = [work, detail(), f"{time.monotonic() - start:.0f} s"]
        sys.stderr.write(f"{CLEAR_LINE}{printable(', '.join(filter(None, parts)))}")
        sys.stderr.flush()
        has_line = True
    if has_line:
        sys.stderr.write(CLEAR_LINE)
        sys.stderr.flush()
