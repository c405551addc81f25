"""Many runs that end with the process share one deadline, and none of them loses anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import relumine
from relumine._export.spool import frames
from relumine._runtime import open_runs
from relumine.schemas.upload import Upload

RUNS = 10
SCRIPT = f"""
import torch
from torch import nn
import relumine

monitors = []
for number in range({RUNS}):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitors.append(relumine.watch(model, optimizer, run_id=f"r{{number}}", every=1))
    for _ in range(4):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
"""


class FakeRun:
    """A run whose end takes all the time that it is given."""

    def __init__(self, name, events, clock):
        self._name = name
        self._events = events
        self._clock = clock

    def announce_end(self, final_status, timeout_s):
        assert final_status == "finished"
        self._events.append(("announced", self._name, timeout_s))

    def end(self, final_status, timeout_s):
        assert final_status == "finished"
        self._events.append(("ended", self._name, timeout_s))
        self._clock.now += timeout_s


def test_runs_that_end_together_share_one_deadline_which_leaves_time_to_write_their_rest(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    events = []
    runs = [FakeRun(name, events, clock) for name in "abc"]
    monkeypatch.setattr(open_runs, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(open_runs, "all_open", lambda: runs)
    open_runs._end_all("finished")
    sending_s = open_runs.SENDING_SHARE * open_runs.EXIT_TIMEOUT_S
    assert 0 < sending_s < open_runs.EXIT_TIMEOUT_S
    announced = [("announced", name, sending_s) for name in "abc"]
    assert events == [*announced, ("ended", "a", sending_s), ("ended", "b", 0.0), ("ended", "c", 0.0)]


def spooled(directory):
    """Return the final status and the sampled steps of each run on disk."""
    statuses = {}
    steps = defaultdict(set)
    for path in directory.rglob("*.uploads"):
        for body in frames(path):
            upload = Upload.model_validate_json(body)
            statuses[upload.run.id] = upload.final_status or statuses.get(upload.run.id)
            steps[upload.run.id].update(upload.records.scalars["step"].tolist())
    return statuses, steps


def test_ten_runs_end_with_the_interpreter_while_the_server_hangs_and_none_loses_a_step(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        environment = os.environ | {
            "PYTHONPATH": str(Path(relumine.__file__).resolve().parents[1]),
            "RELUMINE_DIR": str(tmp_path),
            "RELUMINE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        finished = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=False, capture_output=True)
    assert finished.returncode == 0, finished.stderr
    statuses, steps = spooled(tmp_path)
    names = {f"r{number}" for number in range(RUNS)}
    assert statuses == dict.fromkeys(names, "finished")
    assert steps == {name: {1, 2, 3, 4} for name in names}
