"""``relumine-server`` in this process."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from click.testing import Result
from typer.testing import CliRunner

from relumine_server.cli.main import cli


def run_command(arguments: Sequence[str], **environment: str) -> Result:
    """Run a command; return its exit code, what it printed, and its exception.

    The command may set up the log to write to the runner's own standard error, which is closed afterwards. The log is
    therefore reset.
    """
    handlers = list(logging.getLogger().handlers)
    try:
        return _OwnOutput().invoke(cli, list(arguments), env=environment)
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = handlers


class _OwnOutput(CliRunner):
    """A runner whose result leaves out what threads that ran before the command write meanwhile.

    The background workers of an earlier test's server may end after that test, and the streams belong to the process.
    """

    @contextmanager
    def isolation(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        with super().isolation(*arguments, **options) as streams:
            sys.stdout = _StreamOfCommand(sys.stdout, others)
            sys.stderr = _StreamOfCommand(sys.stderr, others)
            yield streams


class _StreamOfCommand:
    """A text stream that ignores what some threads write."""

    def __init__(self, stream: Any, ignored_threads: set[int | None]) -> None:
        self._stream = stream
        self._ignored_threads = ignored_threads

    def write(self, text: str) -> int:
        if threading.get_ident() in self._ignored_threads:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
