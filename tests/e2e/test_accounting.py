"""What ``sdk_stats`` says of the sampled steps agrees with what a real server stores, whatever happens to it."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import httpx
import pytest
import torch
from torch import nn

import relumine
from relumine._export.spool import frames
from relumine.schemas.upload import Upload
from relumine_server.maintenance.backup import backup
from tests.chaos.server import Server
from tests.helpers.forked_python import SERVERS, TRAININGS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path):
    """A server process that can be stopped and started again on its port and its database."""
    process = Server(f"sqlite:///{tmp_path / 'relumine.db'}", settings={})
    process.start_python = SERVERS.start
    process.start()
    yield process
    process.kill()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of spooled uploads."""
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


class Training:
    """A small training that is watched at every step."""

    def __init__(self, **options):
        torch.manual_seed(1)
        torch.set_num_threads(1)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.monitor = relumine.watch(self.model, self.optimizer, every=1, **options)

    def steps(self, count, flush_s):
        for _ in range(count):
            self.model(torch.randn(4, 6)).square().mean().backward()
            self.optimizer.step()
        self.monitor.flush(flush_s)
        return self.balanced_stats()

    def balanced_stats(self):
        stats = self.monitor.sdk_stats()
        parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
        assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"]
        return stats


def stored_steps(server, run_id):
    query = {"statistics": "n_examples", "points": 10_000}
    answer = httpx.get(f"{server.url}/v1/runs/{run_id}/layers/1/series", params=query, timeout=60)
    steps = answer.json().get("step", [])
    assert steps == sorted(set(steps))
    return steps


def sync(folder, server):
    return TRAININGS.run(["-m", "relumine", "sync", str(folder), "--url", server.url], cwd=ROOT)


def restore(server, database, copy):
    for name in (database, database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-shm")):
        name.unlink(missing_ok=True)
    shutil.copy(copy, database)
    server.start()


def test_every_sampled_step_of_a_watched_training_is_where_sdk_stats_says(server, tmp_path, folder):
    database = tmp_path / "relumine.db"
    training = Training(url=server.url)
    run_id = training.monitor.run_id
    assert training.steps(20, 20.0)["acked_steps"] == 20 == len(stored_steps(server, run_id))

    backup(f"sqlite:///{database}", tmp_path / "copy.db")
    assert training.steps(10, 20.0)["acked_steps"] == 30  # these ten are lost with the restore
    server.terminate()
    assert training.steps(10, 1.0)["spooled_steps"] == 10
    restore(server, database, tmp_path / "copy.db")
    completed = sync(folder, server)
    assert completed.returncode == 0, completed.stderr
    assert training.steps(10, 30.0)["acked_steps"] == 50
    assert stored_steps(server, run_id) == [*range(1, 21), *range(31, 51)]

    httpx.delete(f"{server.url}/v1/runs/{run_id}").raise_for_status()
    training.steps(10, 20.0)
    training.monitor.close()
    stats = training.balanced_stats()
    assert (stats["acked_steps"], stats["dropped_steps"]) == (60, {})
    assert stored_steps(server, run_id) == list(range(51, 61))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_every_sampled_step_of_an_offline_training_is_stored_once_by_syncs_during_and_after_it(server, folder):
    training = Training(mode="offline")
    run_id = training.monitor.run_id
    for _ in range(3):
        stats = training.steps(10, 20.0)
        completed = sync(folder, server)
        assert completed.returncode == 0, completed.stderr
        assert len(stored_steps(server, run_id)) == stats["acked_steps"]
    training.steps(10, 20.0)
    training.monitor.close()
    assert sync(folder, server).returncode == 0
    assert stored_steps(server, run_id) == list(range(1, 41))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_killed_training_leaves_on_disk_what_sync_stores(server, folder):
    command = ["-m", "tests.chaos.training_script", "--mode", "offline"]
    command += ["--steps", "300", "--pause", "0.01", "--end", "SIGKILL"]
    completed = TRAININGS.run(command, cwd=ROOT)
    assert completed.returncode == -signal.SIGKILL
    (file,) = folder.rglob("*.uploads")
    uploads = [Upload.model_validate_json(body) for body in frames(file)]
    spooled = sum(record.sampled_steps for upload in uploads for record in upload.records if not record.layer_id)
    stats = json.loads(completed.stdout.splitlines()[-1])["stats"]
    assert spooled >= stats["acked_steps"] > 0
    assert sync(folder, server).returncode in (0, 1)  # 1 if the kill tore the last upload
    assert len(stored_steps(server, uploads[0].run.id)) == spooled
