"""The border to the user's code: whatever fails inside the SDK stays inside.

The first error is shown in one line with its place; after ``LIMIT`` errors the SDK switches itself off with one
message. With ``strict`` errors come out. This is the only module that may catch everything.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LIMIT = 10


def say(text: str) -> None:
    """One line to the person at the terminal. Standard error: standard output belongs to the training script."""
    try:
        sys.stderr.write(f"relumine: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # a closed or missing stderr is no reason to fail
        return


class Guard:
    """Counts inner errors, shows the first, and switches the SDK off when they do not stop."""

    def __init__(self, *, strict: bool) -> None:
        self.errors = 0
        self.last: str | None = None
        self.switch_off: Callable[[], None] | None = None
        self._strict = strict

    @contextmanager
    def inside(self, where: str) -> Iterator[None]:
        """Run SDK code called from user code; nothing but deliberate exits leaves it."""
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            self.note(where, error)

    def caught(self, where: str, error: Exception) -> None:
        """For the hot path, which cannot afford ``inside``: call it in the ``except`` clause."""
        if self._strict:
            raise error
        self.note(where, error)

    def note(self, where: str, error: BaseException) -> None:
        """Count an error that was held back."""
        self.errors += 1
        self.last = f"{where}: {_place(error)}"
        if self.errors == 1:
            say(f"an inner error was held back, training goes on ({self.last})")
        if self.errors == LIMIT and self.switch_off is not None:
            say(f"switched off after {LIMIT} inner errors, training goes on (last: {self.last})")
            self.switch_off()


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{at}"
