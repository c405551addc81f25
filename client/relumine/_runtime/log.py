"""The SDK's logger, ``relumine``, and its default output: one line per message on standard error."""

from __future__ import annotations

import logging
import os
import re
import sys

logger = logging.getLogger("relumine")

# Messages carry text of others (layer names, a server's reasons), which must not steer the terminal.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class _LineFormatter(logging.Formatter):
    """A formatter of single lines, ``relumine: …``, with control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return _CONTROL_CHARACTERS.sub(_escape, super().formatMessage(record))


class StderrHandler(logging.Handler):
    """A handler that writes to standard error unless the application configured one for ``relumine`` or the root.

    Handlers and ``sys.stderr`` are looked up for each message: applications configure logging after the import, and
    redirect the stream at any time. Standard output belongs to the training script.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; a closed, missing or busy standard error is no reason to fail."""
        if self._is_replaced():
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return
        except RuntimeError:  # a signal handler interrupted a write to the same stream
            return

    def _is_replaced(self) -> bool:
        others = [handler for handler in logger.handlers if handler is not self]
        return bool(others) or (logger.propagate and bool(logging.getLogger().handlers))


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def _is_loud(_record: logging.LogRecord) -> bool:
    """Return False where RELUMINE_QUIET is set: nothing is logged then, by no handler."""
    return os.environ.get("RELUMINE_QUIET", "") in ("", "0")


def _configure() -> None:
    handler = StderrHandler()
    handler.setFormatter(_LineFormatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.addFilter(_is_loud)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)  # the root's level, WARNING, would hide the start line and the closing line


_configure()
