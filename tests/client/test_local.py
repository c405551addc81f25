"""Without a server: the alert comes through the console and ``on_alert``, the records stay on disk."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine
from relumine import _spool
from relumine.wire import Upload


def kill(model, optimizer, monitor, steps=200, at=120):
    torch.manual_seed(2)
    for step in range(steps):
        if step == at:
            optimizer.param_groups[0]["lr"] = 2.0
        x = torch.rand(64, 6)
        loss = nn.functional.cross_entropy(model(x), (x[:, 0] * 3).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.flush()


def test_a_death_is_told_in_process_and_kept_on_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    told = []
    with relumine.watch(model, optimizer, mode="local", name="alone", on_alert=told.append, strict=True) as monitor:
        kill(model, optimizer, monitor)
    assert {alert.cause for alert in told} == {"high_learning_rate"}
    assert {alert.kind for alert in told} & {"dying", "dead"}
    assert "Do: lr" in capsys.readouterr().err
    (file,) = (tmp_path / monitor.run_id).iterdir()
    uploads = [Upload.model_validate_json(body) for body in _spool.frames(file)]
    assert [upload.seq for upload in uploads] == sorted({upload.seq for upload in uploads})
    assert uploads[-1].closing == "finished"


def dying_run(tmp_path, monkeypatch, on_alert):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with relumine.watch(model, optimizer, mode="local", on_alert=on_alert) as monitor:
        kill(model, optimizer, monitor)


def test_stop_training_ends_it_at_the_first_critical_alert(tmp_path, monkeypatch):
    with pytest.raises(relumine.TrainingStopped) as stopped:
        dying_run(tmp_path, monkeypatch, relumine.stop_training)
    assert stopped.value.alert.severity == "critical"
    assert 120 < stopped.value.alert.opened_step < 200


def test_a_callback_that_fails_is_shown_and_ends_nothing(tmp_path, monkeypatch, capsys):
    def broken(_alert):
        raise KeyError("mine")

    dying_run(tmp_path, monkeypatch, broken)
    assert "on_alert failed, training goes on (KeyError: 'mine')" in capsys.readouterr().err


def test_a_torn_file_gives_what_is_whole(tmp_path):
    path = tmp_path / "x.uploads"
    spool = _spool.Spool(path)
    spool.append(b"one")
    spool.append(b"two")
    spool.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert list(_spool.frames(path)) == [b"one"]
