"""The progress of long work in one line of the terminal. Nothing is written where standard error is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from relumine.schemas.printable import printable

# How often the line is written again.
INTERVAL_S = 0.1

CLEAR_LINE = "\r\x1b[K"


class ProgressLine:
    """A line that is written over itself, and cleared in the end. For one thread."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._next_at = 0.0

    def show(self, line: str) -> None:
        """Show a line, unless another was shown just now."""
        now = time.monotonic()
        if self._is_shown and now >= self._next_at:
            self._next_at = now + INTERVAL_S
            sys.stderr.write(f"{CLEAR_LINE}{printable(line)}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()
