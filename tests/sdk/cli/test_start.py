"""The start of the commands: version, help without heavy imports, pipes, encodings, and the progress of ``sync``."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

import relumine
from relumine.cli import INTERRUPTED, STOPPED_READING, _parser, main
from tests.helpers.forked_python import TRAININGS
from tests.helpers.live_server import listening

COMMANDS = ["runs", "alerts", "report", "open", "sync", "check"]
HEAVY = ("torch", "httpx", "pydantic", "numpy", "sqlalchemy", "typer", "asyncio")
HELP = """
import sys
from relumine.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("loaded:", sorted(name for name in sys.modules if name.partition(".")[0] in {heavy}))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *[[name, "--help"] for name in COMMANDS]])
def test_help_and_version_load_nothing_heavy(arguments):
    program = HELP.replace("{heavy}", repr(HEAVY))
    output = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert output.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("module", ["alerts", "browser", "check", "report", "runs", "sync"])
def test_a_module_of_a_command_loads_nothing_heavy(module):
    program = f"import sys, relumine._cli.{module}; assert not set(sys.modules) & {set(HEAVY)}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_version_names_the_program(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"relumine {relumine.__version__}\n"


def test_every_command_of_the_help_can_be_called():
    assert [name for name in COMMANDS if name not in _parser().format_help()] == []


def test_a_reader_that_stops_early_gets_no_traceback(tmp_path):
    with (
        listening(f"sqlite:///{tmp_path / 'x.db'}") as url,
        TRAININGS.start(
            ["-m", "relumine", "runs", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == STOPPED_READING


def test_an_interrupt_gets_no_traceback(monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("relumine._cli.runs.run_runs", interrupted)
    assert main(["runs"]) == INTERRUPTED


def test_a_name_outside_of_the_encoding_is_escaped(tmp_path, monkeypatch):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url, relumine.Client(url) as client:
        client.upload({"run": {"id": "r", "name": "数字"}, "session": "s", "seq": 1})
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", stream)
        assert main(["runs", "--url", url]) == 0
        stream.flush()
        assert rb"\u6570\u5b57" in stream.buffer.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_sync_shows_its_progress_on_terminals_only(stream, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.uploads").write_bytes(b"no upload")
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    assert main(["sync", str(tmp_path), "--url", "http://127.0.0.1:9"]) == 1
    assert ("file 1 of 1, 0 uploads accepted" in shown.getvalue()) is (stream is Terminal)
    assert ("\x1b" in shown.getvalue()) is (stream is Terminal)


def test_sync_prints_its_result_as_json(tmp_path, capsys):
    (tmp_path / "x.uploads").write_bytes(b"no upload")
    assert main(["sync", str(tmp_path), "--url", "http://127.0.0.1:9", "--json"]) == 1
    captured = capsys.readouterr()
    assert '"files": 1,' in captured.out
    assert "holds no upload" in captured.out
