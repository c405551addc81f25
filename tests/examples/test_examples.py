"""Every example, as its first lines say to run it, against a real server: told of a death, silent without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from live_server import listening

import relumine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPTS = {
    "plain_loop": ([], "plain"),
    "lightning_trainer": ([], "lightning"),
    "transformers_trainer": ([], "transformers"),
    "ddp": (TORCHRUN, "ddp"),
    "fine_tuning": ([], "tuning"),
    "reinforcement_learning": ([], "rl"),
}


@pytest.fixture(scope="module")
def server(sqlite_template, tmp_path_factory):
    database = tmp_path_factory.mktemp("examples") / "x.db"
    shutil.copy(sqlite_template, database)
    with listening(f"sqlite:///{database}") as url:
        yield url


def start(command, url, folder):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "RELUMINE_URL": url, "RELUMINE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], env=environment, cwd=folder, **pipes)


def said(process):
    output, error = process.communicate(timeout=250)
    assert process.returncode == 0, error
    return output


def ended(url, name):
    """The outcome of the run of that name, and its alerts that are more than a note."""
    with relumine.Client(url) as client:
        (found,) = [one for one in client.runs(project="examples") if one.name == name]
        return found.state, [alert for alert in client.alerts(run_id=found.run_id) if alert.severity != "info"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dying_training_is_told_of_and_its_healthy_twin_left_in_peace(script, server, tmp_path):
    launcher, name = SCRIPTS[script]
    command = [*launcher, EXAMPLES / f"{script}.py"]
    healthy = start(command, server, tmp_path / "healthy")
    dying = start([*command, "--dying"], server, tmp_path / "dying")
    assert "[critical]" not in said(healthy)
    assert ended(server, name) == ("finished", [])
    assert "[critical]" in said(dying)
    state, alerts = ended(server, f"{name}-dying")
    assert {alert.kind for alert in alerts} & {"dying", "dead"}
    assert state == ("failed" if script == "lightning_trainer" else "finished")  # that one stops at the alert


def test_the_notebook_runs_from_top_to_bottom(server, tmp_path):
    notebook = Path(shutil.copy(EXAMPLES / "notebook.ipynb", tmp_path))
    said(start(["-m", "jupyter", "execute", "--inplace", notebook], server, tmp_path))
    assert "[critical]" in notebook.read_text()
    assert ended(server, "notebook") == ("finished", [])
    state, alerts = ended(server, "notebook-dying")
    assert state == "finished"
    assert {alert.kind for alert in alerts} & {"dying", "dead"}


def test_every_example_is_run_here_or_elsewhere():
    elsewhere = {"demo", "dying_digits", "notebook"}
    assert {path.stem for path in EXAMPLES.glob("*.*")} == set(SCRIPTS) | elsewhere
