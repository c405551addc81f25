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


def run(command, url, folder):
    environment = {**os.environ, "RELUMINE_URL": url, "RELUMINE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ended(url, name):
    """The outcome of the run of that name, and its alerts that are more than a note."""
    with relumine.Client(url) as client:
        (found,) = [one for one in client.runs(project="examples") if one.name == name]
        return found.state, [alert for alert in client.alerts(run_id=found.run_id) if alert.severity != "info"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_healthy_training_is_left_in_peace(script, server, tmp_path):
    launcher, name = SCRIPTS[script]
    said = run([*launcher, EXAMPLES / f"{script}.py"], server, tmp_path)
    assert ended(server, name) == ("finished", [])
    assert "[critical]" not in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dying_training_is_told_of(script, server, tmp_path):
    launcher, name = SCRIPTS[script]
    said = run([*launcher, EXAMPLES / f"{script}.py", "--dying"], server, tmp_path)
    state, alerts = ended(server, f"{name}-dying")
    assert {alert.kind for alert in alerts} & {"dying", "dead"}
    assert "[critical]" in said
    assert state == ("failed" if script == "lightning_trainer" else "finished")  # that one stops at the alert


def test_the_notebook_runs_from_top_to_bottom(server, tmp_path):
    notebook = shutil.copy(EXAMPLES / "notebook.ipynb", tmp_path)
    run(["-m", "jupyter", "execute", "--inplace", notebook], server, tmp_path)
    assert "[critical]" in Path(notebook).read_text()
    assert ended(server, "notebook") == ("finished", [])
    state, alerts = ended(server, "notebook-dying")
    assert state == "finished"
    assert {alert.kind for alert in alerts} & {"dying", "dead"}


def test_every_example_is_run_here_or_elsewhere():
    elsewhere = {"demo", "dying_digits", "notebook"}
    assert {path.stem for path in EXAMPLES.glob("*.*")} == set(SCRIPTS) | elsewhere
