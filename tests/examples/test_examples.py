"""Every example, run as its docstring says, on a real server: a dying run raises alerts, a healthy one does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import relumine
from relumine import cli
from tests.helpers.forked_python import TRAININGS
from tests.helpers.live_server import listening

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
NAMES = {
    "plain_loop": "plain",
    "lightning_trainer": "lightning",
    "transformers_trainer": "transformers",
    "ddp": "ddp",
    "fine_tuning": "tuning",
    "reinforcement_learning": "rl",
    "sparse_autoencoder": "sae",
}
"""The names of the runs, by script."""
IMPORTS = {
    "lightning_trainer": ["lightning.pytorch"],
    "transformers_trainer": ["transformers.trainer", "transformers.models.bert.modeling_bert"],
}
"""What scripts import beside torch."""


@pytest.fixture(scope="module")
def server(sqlite_template, tmp_path_factory):
    database = tmp_path_factory.mktemp("examples") / "x.db"
    shutil.copy(sqlite_template, database)
    with listening(f"sqlite:///{database}") as url:
        yield url


def start(command, url, folder, modules=None):
    """Start Python with these arguments, in a fork where ``modules`` are named."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "RELUMINE_URL": url, "RELUMINE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment, "cwd": folder}
    if modules is None:
        return subprocess.Popen([sys.executable, *command], **options)
    return TRAININGS.start(command, also=modules, **options)


def start_script(script, options, url, folder):
    """Start an example as its docstring says."""
    command = [EXAMPLES / f"{script}.py", *options]
    if script == "ddp":
        return start([*TORCHRUN, *command], url, folder, modules=["torch.distributed.run"])
    return start(command, url, folder, modules=IMPORTS.get(script, []))


def output_of(process):
    output, error = process.communicate(timeout=250)
    assert process.returncode == 0, error
    return output


def sync(url, folder):
    """Send what is on disk: a training does not wait long for a server that is busy when it ends."""
    with mock.patch.dict(os.environ, {"RELUMINE_DIR": str(folder)}):
        assert cli.main(["sync", "--url", url]) == 0


def result_of(url, name, folder):
    """Return the status of the run with this name, and its alerts above severity info."""
    sync(url, folder)
    with relumine.Client(url) as client:
        (run,) = [run for run in client.runs(project="examples") if run.name == name]
        return run.status, [alert for alert in client.alerts(run_id=run.run_id) if alert.severity != "info"]


@pytest.mark.parametrize("script", NAMES)
def test_a_dying_training_raises_an_alert_and_its_healthy_twin_raises_none(script, server, tmp_path):
    name = NAMES[script]
    healthy = start_script(script, [], server, tmp_path / "healthy")
    dying = start_script(script, ["--dying"], server, tmp_path / "dying")
    healthy_output, dying_output = output_of(healthy), output_of(dying)
    assert "[critical]" not in healthy_output
    assert result_of(server, name, tmp_path / "healthy") == ("finished", [])
    assert "[critical]" in dying_output
    status, alerts = result_of(server, f"{name}-dying", tmp_path / "dying")
    assert {alert.kind for alert in alerts} & {"dying", "dead"}
    assert status == ("failed" if script == "lightning_trainer" else "finished")  # it stops at the alert


def test_the_notebook_runs_from_top_to_bottom(server, tmp_path):
    notebook = Path(shutil.copy(EXAMPLES / "notebook.ipynb", tmp_path))
    output_of(start(["-m", "jupyter", "execute", "--inplace", notebook], server, tmp_path))
    assert "[critical]" in notebook.read_text()
    assert result_of(server, "notebook", tmp_path) == ("finished", [])
    status, alerts = result_of(server, "notebook-dying", tmp_path)
    assert status == "finished"
    assert {alert.kind for alert in alerts} & {"dying", "dead"}


def test_the_policy_of_an_agent_is_watched(server, tmp_path):
    output_of(start_script("stable_baselines3_ppo", [], server, tmp_path / "healthy"))
    sync(server, tmp_path / "healthy")
    with relumine.Client(server) as client:
        (run,) = [run for run in client.runs(project="examples") if run.name == "ppo"]
        assert (run.status, run.layers) == ("finished", 4)


def test_the_readme_of_the_examples_shows_what_each_prints():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.*"):
        if script.name != "README.md":
            assert f"## `{script.name}`" in text, script.name


def test_every_example_is_run_here_or_elsewhere():
    elsewhere = {"demo", "dying_digits", "notebook", "stable_baselines3_ppo", "README"}
    assert {path.stem for path in EXAMPLES.glob("*.*")} == set(NAMES) | elsewhere
