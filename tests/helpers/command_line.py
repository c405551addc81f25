"""``relumine-server`` in this process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

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
        return CliRunner().invoke(cli, list(arguments), env=environment)
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = handlers
