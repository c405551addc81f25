"""``relumine-server`` in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import structlog
import typer.testing
from click.testing import Result

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


class _OwnOutput(typer.testing.CliRunner):
    """A runner whose result leaves out what threads that ran before the command write meanwhile.

    The background workers of an earlier test's server may end after that test, and the streams belong to the process.
    The runner has no place for streams of ours, and to exchange its streams afterwards would be too late.
    """

    @contextmanager
    def isolation(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

        class StreamOfCommand(typer.testing._NamedTextIOWrapper):
            def write(self, text: str) -> int:
                return len(text) if threading.get_ident() in others else super().write(text)

        with (
            mock.patch.object(typer.testing, "_NamedTextIOWrapper", StreamOfCommand),
            super().isolation(*arguments, **options) as streams,
        ):
            yield streams
