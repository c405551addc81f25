"""The SDK's logger, ``relumine``, and its default output: one line per message, the severity first."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from relumine._runtime.terminal import coloured, is_notebook_stream, write_line
from relumine.schemas.printable import printable, printable_lines

logger = logging.getLogger("relumine")

# Lines about the server's answers within a minute. Further ones are counted, and the count is printed.
MAX_LINES = 60
WINDOW_S = 60.0


class LineLimiter:
    """A limit of the lines that the answers of a server can cause. May be used by any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._window_began = now()
        self._lines = 0
        self._withheld = 0
        # Reentrant: the SIGTERM handler may interrupt ``log`` and write the closing line in the same thread.
        self._lock = threading.RLock()

    def log(self, level: int, message: str, *arguments: object, word: str = "") -> None:
        """Log a line; within a minute that has had ``MAX_LINES`` of them, count it only. ``word`` as for ``begin``."""
        self.report()
        with self._lock:
            self._lines += 1
            is_withheld = self._lines > MAX_LINES
            self._withheld += is_withheld
        if not is_withheld:
            logger.log(level, message, *arguments, extra=begin(word))

    def report(self, *, last: bool = False) -> None:
        """Log how many lines of a past minute were not printed; with ``last`` also those of this one."""
        withheld = self._take_withheld(is_last=last)
        # Outside of the lock: a line waits for the bars of tqdm, and these may wait for a signal handler that logs.
        if withheld:
            logger.warning("%s more lines about answers of the server were not printed", f"{withheld:,}")

    def _take_withheld(self, *, is_last: bool) -> int:
        with self._lock:
            has_passed = self._now() - self._window_began >= WINDOW_S
            if not has_passed and not is_last:
                return 0
            withheld = self._withheld
            self._withheld = 0
            if has_passed:
                self._window_began = self._now()
                self._lines = 0
        return withheld


def begin(word: str) -> dict[str, str]:
    """Return ``extra`` for a message that begins with a severity or a health of the API: the word decides its colour.

    Other messages from WARNING on get the name of their level as their first word.
    """
    return {"relumine_word": word}


server_lines = LineLimiter()


class StderrHandler(logging.Handler):
    """A handler that writes to standard error unless the application configured one for ``relumine`` or the root.

    Handlers and ``sys.stderr`` are looked up for each message: applications configure logging after the import, and
    redirect the stream at any time. Standard output belongs to the training script, except in a notebook, which shows
    every line on standard error as an error: there it has the lines below WARNING.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Write one message, holding no lock of logging's: a signal handler may interrupt this thread and log too."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; a closed, missing or busy standard error is no reason to fail."""
        if self._is_replaced():
            return
        stream = sys.stderr
        if record.levelno < logging.WARNING and is_notebook_stream(sys.stdout):
            stream = sys.stdout
        with suppress(Exception):  # streams, tqdm and rich are of the application, and may be closed or busy
            write_line(stream, self._line(record, stream))

    def _line(self, record: logging.LogRecord, stream: TextIO) -> str:
        """Return ``relumine: WARNING text``, its first word coloured where that is shown."""
        text = self.format(record)
        word = getattr(record, "relumine_word", "")
        if not word and record.levelno >= logging.WARNING:
            word = record.levelname
            text = f"{word} {text}"
        if word and text.startswith(word):
            text = coloured(word, word, stream) + text.removeprefix(word)
        return f"{record.name}: {text}"

    def _is_replaced(self) -> bool:
        others = [handler for handler in logger.handlers if handler is not self]
        return bool(others) or (logger.propagate and bool(logging.getLogger().handlers))


def _make_printable(record: logging.LogRecord) -> bool:
    """Escape what messages carry of others: layer names, a server's reasons. For every handler, also of other loggers.

    Formatters take the text of a traceback from ``exc_text`` where a record has it.
    """
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - the text of a user's exception or object may itself fail
        message = f"{record.msg} (its arguments cannot be read: {type(error).__name__})"
    record.msg = printable(message)
    record.args = None
    if record.exc_info and not record.exc_text:
        record.exc_text = printable_lines(logging.Formatter().formatException(record.exc_info))
    return True


def _is_loud(_record: logging.LogRecord) -> bool:
    """Return False where RELUMINE_QUIET is set: nothing is logged then, by no handler."""
    return os.environ.get("RELUMINE_QUIET", "").lower() in ("", "0", "false", "no", "off")


def _configure() -> None:
    handler = StderrHandler()
    logger.addHandler(handler)
    logger.addFilter(_is_loud)
    logger.addFilter(_make_printable)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)  # the root's level, WARNING, would hide the start line and the closing line


_configure()
