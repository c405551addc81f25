"""Trainings of the frameworks run as users run them; only the server is replaced, by a transport in memory."""

from __future__ import annotations

import pytest
import torch
from alarming import AlarmingTransport

from relumine.testing import MemoryTransport


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("RELUMINE_URL", "RELUMINE_MODE", "RELUMINE_RUN_ID", "RELUMINE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "relumine"))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def memory():
    with MemoryTransport() as transport:
        yield transport


@pytest.fixture
def alarming():
    with AlarmingTransport() as transport:
        yield transport


@pytest.fixture
def told():
    """What a transport received, by run: the steps looked at, the losses logged, how it ended."""

    def tell(transport):
        runs = {}
        for upload in transport.uploads:
            run = runs.setdefault(upload.run.id, {"steps": [], "losses": {}, "closing": [], "sessions": set()})
            run["steps"] += [record.step for record in upload.records if record.layer_id == 1]
            run["losses"] |= {number.step: number.value for number in upload.numbers if number.name == "loss"}
            run["closing"] += [upload.closing] if upload.closing else []
            run["sessions"].add(upload.session)
        return runs

    return tell
