"""Trainings of the frameworks as users run them; only the server is replaced, by a transport in memory."""

from __future__ import annotations

import pytest
import torch

from relumine.testing import InMemoryTransport
from tests.helpers.alarming_transport import AlarmingTransport


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("RELUMINE_URL", "RELUMINE_MODE", "RELUMINE_RUN_ID", "RELUMINE_API_KEY", "RELUMINE_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "relumine"))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def memory():
    with InMemoryTransport() as transport:
        yield transport


@pytest.fixture
def alarming():
    with AlarmingTransport() as transport:
        yield transport


@pytest.fixture
def summarize():
    """Returns what a transport received, by run: sampled steps, logged losses, final status, sessions."""

    def by_run(transport):
        runs = {}
        for upload in transport.uploads:
            run = runs.setdefault(upload.run.id, {"steps": [], "losses": {}, "final_status": [], "sessions": set()})
            run["steps"] += [record.step for record in upload.records if record.layer_id == 1]
            run["losses"] |= {number.step: number.value for number in upload.metrics if number.name == "loss"}
            run["final_status"] += [upload.final_status] if upload.final_status else []
            run["sessions"].add(upload.session)
        return runs

    return by_run
