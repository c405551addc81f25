"""The border to the user's code: errors of the SDK are counted and logged here, and never reach the training.

Hot paths catch for themselves and call ``ErrorGuard.handle``; everything else runs within ``ErrorGuard.suppress``.
"""

from __future__ import annotations

import signal
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relumine._runtime.log import logger

MAX_ERRORS = 10


class ErrorGuard:
    """A guard that counts internal errors, logs the first, and disables the SDK after ``MAX_ERRORS``.

    With ``strict`` errors are raised instead.
    """

    def __init__(self, *, strict: bool) -> None:
        self.errors = 0
        self.last_error: str | None = None
        self._strict = strict
        self._on_disable: weakref.WeakMethod[Callable[[], None]] | None = None

    def on_disable(self, method: Callable[[], None]) -> None:
        """Call a bound method when there were too many errors. Its object is held weakly: the sender thread has us."""
        self._on_disable = weakref.WeakMethod(method)

    @contextmanager
    def suppress(self, context: str) -> Iterator[None]:
        """Run SDK code called from user code; nothing but deliberate exits leaves the block."""
        try:
            yield
        except Exception as error:
            if self._strict or is_from_signal_handler(error):
                raise
            self.record(context, error)

    def handle(self, context: str, error: Exception) -> None:
        """Suppress an error that a hot path caught itself, where entering ``suppress`` would cost too much."""
        if self._strict or is_from_signal_handler(error):
            raise error
        self.record(context, error)

    def record(self, context: str, error: BaseException) -> None:
        """Count a suppressed error; log the first, and disable the SDK at the last."""
        self.errors += 1
        self.last_error = f"{context}: {_describe(error)}"
        if self.errors == 1:
            logger.warning(
                "internal error suppressed, training continues (%s); traceback at level DEBUG, strict=True raises it",
                self.last_error,
            )
        logger.debug("internal error in %s", context, exc_info=error)
        disable = None if self._on_disable is None else self._on_disable()
        if self.errors == MAX_ERRORS and disable is not None:
            logger.error(
                "disabled after %d internal errors, training continues (last: %s)", MAX_ERRORS, self.last_error
            )
            disable()


def is_from_signal_handler(error: BaseException) -> bool:
    """Return True if a signal handler of the application raised it, while code of the SDK happened to run.

    A time limit by SIGALRM is the usual case; suppressing it would take the limit away.
    """
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    handlers.discard(None)
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return f"{type(error).__name__}: {error}"
    innermost = frames[-1]
    location = f"{Path(innermost.filename).name}:{innermost.lineno} in {innermost.name}"
    return f"{type(error).__name__}: {error}, {location}"
