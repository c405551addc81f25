"""The start of the server's commands: version, help without heavy imports; and the progress of long work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import pytest

import relumine
from relumine_server.cli import progress as progress_line
from relumine_server.cli.progress import progress
from tests.helpers.command_line import run_command

COMMANDS = [
    "serve",
    "worker",
    "migrate",
    "replay",
    "backup",
    "doctor",
    "keys",
    "keys create",
    "keys list",
    "keys revoke",
]
HEAVY = ("torch", "httpx", "numpy", "pydantic", "sqlalchemy", "fastapi", "rich", "structlog")
HELP = """
import sys
from relumine_server.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("loaded:", sorted(set(sys.modules) & set({heavy})))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *[[*name.split(), "--help"] for name in COMMANDS]])
def test_help_and_version_load_nothing_heavy(arguments):
    program = HELP.replace("{heavy}", repr(HEAVY))
    output = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert output.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("arguments", [["keys", "list"], ["doctor"]])
def test_commands_that_only_look_at_a_sqlite_file_load_nothing_heavy(arguments, tmp_path):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    assert run_command(["migrate"], **environment).exit_code == 0
    program = HELP.replace("{heavy}", repr((*HEAVY, "alembic", "pydantic_settings", "asyncio")))
    command = [sys.executable, "-c", program, *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert output.stdout.splitlines()[-1] == "loaded: []"


def test_help_lists_the_version_and_no_option_denies_itself():
    result = run_command(["--help"])
    assert "--version" in result.output
    for command in COMMANDS:
        assert "--no-no-" not in run_command([*command.split(), "--help"]).output


def test_the_version_names_the_program():
    result = run_command(["--version"])
    assert (result.exit_code, result.output) == (0, f"relumine-server {relumine.__version__}\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_long_work_is_shown_on_terminals_only_and_cleared_in_the_end(stream, monkeypatch):
    monkeypatch.setattr(progress_line, "INTERVAL_S", 0.01)
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    with progress("copying\x1b[2J", lambda: "3 records"):
        while stream is Terminal and not shown.getvalue():
            time.sleep(0.01)  # the line is written by another thread
    text = shown.getvalue()
    if stream is Terminal:
        assert r"copying\x1b[2J, 3 records, 0 s" in text
        assert text.endswith(progress_line.CLEAR_LINE)
    else:
        assert text == ""


def test_a_failure_of_long_work_is_passed_on(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    with pytest.raises(OSError, match="full"), progress("copying"):
        raise OSError("full")


@pytest.mark.parametrize("command", [["migrate"], ["backup", "{folder}/copy.db"], ["replay", "r1"]])
def test_long_commands_print_nothing_of_progress_elsewhere(command, tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run_command(["migrate"], RELUMINE_DATABASE_URL=url)
    result = run_command([part.format(folder=tmp_path) for part in command], RELUMINE_DATABASE_URL=url)
    assert "\x1b" not in result.output
