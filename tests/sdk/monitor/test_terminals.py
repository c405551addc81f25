"""The SDK's lines where others write too: progress bars, rich, notebooks, the logs of CI, other users of httpx."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import textwrap
import threading

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.forked_python import TRAININGS
from tests.helpers.live_server import listening

URL = f"http://relumine.example/#/runs/{'0123456789' * 12}"
CRITICAL = "\x1b[31mCRITICAL\x1b[0m"

LOG = f"""
import logging
from relumine._runtime.log import begin, logger
logger.critical("CRITICAL fc2 is dying {URL}", extra=begin("CRITICAL"))
"""
TQDM = f"""
from tqdm import tqdm
for number in tqdm(range(3), ncols=60, mininterval=0):
    if number == 1:
        {textwrap.indent(LOG, "        ").strip()}
"""
RICH = f"""
import sys
from rich.console import Console
from rich.progress import track
for number in track(range(3), console=Console(force_terminal=True, width=60)):
    if number == 1:
        {textwrap.indent(LOG, "        ").strip()}
"""


def environment(**variables):
    """The environment of a process, without the variables that decide on colours."""
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS")}
    return {**plain, "TERM": "xterm", **variables}


def in_terminal(code, **variables):
    """What a terminal receives from a script that runs in it."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=inner, stderr=inner, stdin=inner, env=environment(**variables)
    )
    os.close(inner)
    received = []
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the script has ended
            break
        if not part:
            break
        received.append(part)
    os.close(outer)
    assert process.wait(60) == 0, received
    return b"".join(received).decode()


def in_pipe(code, **variables):
    """What a log file receives from a script."""
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, env=environment(**variables),
        check=True,
    )  # fmt: skip
    return done.stdout.decode()


def shown(received):
    """The rows of a terminal after text without any cursor movement but carriage returns."""
    rows = []
    for line in received.replace("\r\n", "\n").split("\n"):
        row = ""
        for part in line.split("\r"):
            row = part + row[len(part) :]
        rows.append(row.rstrip())
    return rows


def test_a_line_beside_a_bar_of_tqdm_has_a_row_of_its_own_in_a_terminal():
    rows = shown(in_terminal(TQDM))
    assert f"relumine: {CRITICAL} fc2 is dying {URL}" in rows
    assert [row[:4] for row in rows if "%" in row] == ["100%"]


def test_a_line_beside_a_bar_of_tqdm_has_a_row_of_its_own_in_a_log():
    output = in_pipe(TQDM)
    assert f"\nrelumine: CRITICAL fc2 is dying {URL}\n" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("run", [in_terminal, in_pipe])
def test_a_line_beside_a_display_of_rich_stays_whole(run):
    output = run(RICH).replace("\r\n", "\n")
    assert f"fc2 is dying {URL}\n" in output


@pytest.mark.parametrize(
    ("run", "variables", "is_coloured"),
    [
        (in_terminal, {}, True),
        (in_terminal, {"NO_COLOR": "1"}, False),
        (in_terminal, {"TERM": "dumb"}, False),
        (in_pipe, {}, False),
        (in_pipe, {"CI": "true", "GITHUB_ACTIONS": "true"}, False),
        (in_pipe, {"FORCE_COLOR": "1"}, True),
        (in_pipe, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_the_severity_comes_first_and_has_its_colour_where_colours_are_shown(run, variables, is_coloured):
    output = run(LOG, **variables).replace("\r\n", "\n")
    assert output == f"relumine: {CRITICAL if is_coloured else 'CRITICAL'} fc2 is dying {URL}\n"


def test_a_notebook_shows_plain_lines_and_only_warnings_as_errors():
    cell = f"{LOG}\nlogger.info('it runs')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=300).execute()
    streams = {output["name"]: output["text"] for output in notebook.cells[0].outputs}
    assert streams == {
        "stdout": "relumine: it runs\n",
        "stderr": f"relumine: CRITICAL fc2 is dying {URL}\n",
    }


TRAINING = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
import httpx, torch, relumine
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with relumine.watch(model, optimizer, every=1) as monitor:
    for _ in range(20):
        model(torch.randn(16, 4)).pow(2).mean().backward()
        optimizer.step()
with relumine.Client() as client:
    assert list(client.runs())
assert httpx.get(sys.argv[1]).status_code == 200
"""


def test_requests_of_the_sdk_are_not_in_the_log_of_the_application_and_its_own_are(tmp_path):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        variables = environment(RELUMINE_URL=url, RELUMINE_DIR=str(tmp_path))
        done = TRAININGS.run(["-c", TRAINING, f"{url}/livez"], env=variables)
    assert done.returncode == 0, done.stderr
    requests = [line for line in done.stdout.splitlines() if "HTTP Request" in line]
    assert len(requests) == 1, requests
    assert "/livez" in requests[0]
    assert "INFO:relumine:healthy: default/" in done.stdout


SIGNAL = """
import os, signal, sys, threading, time
from tqdm import tqdm
from relumine._runtime.log import logger

def on_signal(*_):
    logger.warning("interrupted")
    os._exit(0)

signal.signal(signal.SIGALRM, on_signal)
threading.Thread(target=lambda: [logger.warning("line") for _ in iter(int, 1)], daemon=True).start()
bar = tqdm(total=1)
signal.setitimer(signal.ITIMER_REAL, 0.3)
while True:
    with tqdm.get_lock():
        for _ in range(10_000):
            pass
"""


def test_a_signal_handler_that_logs_while_a_bar_is_drawn_does_not_wait_for_ever():
    code = SIGNAL
    result = []
    thread = threading.Thread(target=lambda: result.append(in_terminal(code)))
    thread.start()
    thread.join(120)
    assert "WARNING" in result[0]
