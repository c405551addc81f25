"""Local mode: alerts go to the log and to ``on_alert``, records stay on disk."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

import relumine
from relumine._export import sender as export_sender
from relumine._export import spool as export_spool
from relumine.schemas.upload import Upload


def train_with_lr_jump(model, optimizer, monitor, steps=200, jump_step=120):
    torch.manual_seed(2)
    for step in range(steps):
        if step == jump_step:
            optimizer.param_groups[0]["lr"] = 2.0
        x = torch.rand(64, 6)
        loss = nn.functional.cross_entropy(model(x), (x[:, 0] * 3).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.flush()


def test_an_alert_is_raised_in_the_process_and_uploads_are_written_to_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    alerts = []
    with relumine.watch(model, optimizer, mode="local", name="alone", on_alert=alerts.append, strict=True) as monitor:
        train_with_lr_jump(model, optimizer, monitor)
    assert {alert.cause for alert in alerts} == {"high_learning_rate"}
    assert {alert.kind for alert in alerts} & {"dying", "dead"}
    assert "Fix: lower it to" in capsys.readouterr().err
    (file,) = (tmp_path / monitor.run_id).iterdir()
    uploads = [Upload.model_validate_json(body) for body in export_spool.frames(file)]
    assert [upload.seq for upload in uploads] == sorted({upload.seq for upload in uploads})
    assert uploads[-1].final_status == "finished"


def dying_run(tmp_path, monkeypatch, on_alert):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with relumine.watch(model, optimizer, mode="local", on_alert=on_alert) as monitor:
        train_with_lr_jump(model, optimizer, monitor)


def test_stop_training_ends_the_training_at_the_first_critical_alert(tmp_path, monkeypatch):
    with pytest.raises(relumine.TrainingStopped) as stopped:
        dying_run(tmp_path, monkeypatch, relumine.stop_training)
    assert stopped.value.alert.severity == "critical"
    assert 120 < stopped.value.alert.opened_step < 200


def wait_until_idle(monitor):
    """Wait until the sender has handled what it was woken for; nothing wakes it here."""
    sender, queue = monitor._session.sender, monitor._session.loop.queue
    deadline = time.monotonic() + 60
    while (queue.wakeup.is_set() or sender._is_busy) and time.monotonic() < deadline:
        time.sleep(0.001)  # another thread has to end


def test_on_alert_is_called_within_ten_steps_of_the_finding_after_a_jump(monkeypatch):
    monkeypatch.setattr(export_sender, "MAX_AGE_S", 3600.0)  # the sender works only when it is woken
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    delays = []
    x = torch.rand(64, 6)

    def on_alert(alert):
        delays.append(step - alert.opened_step)

    with relumine.watch(model, optimizer, mode="local", on_alert=on_alert, strict=True) as monitor:
        for step in range(1, 240):
            optimizer.param_groups[0]["lr"] = 0.05 if step < 200 else 500.0
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] * 3).long()).backward()
            optimizer.step()
            wait_until_idle(monitor)
    assert delays
    assert delays[0] <= 10


def test_a_callback_that_fails_is_logged_and_the_training_continues(tmp_path, monkeypatch, capsys):
    def broken(_alert):
        raise KeyError("mine")

    dying_run(tmp_path, monkeypatch, broken)
    assert "on_alert failed, training continues (KeyError: 'mine')" in capsys.readouterr().err


def test_a_torn_file_yields_its_intact_frames(tmp_path):
    path = tmp_path / "x.uploads"
    spool = export_spool.Spool(path)
    spool.append(b"one")
    spool.append(b"two")
    spool.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert list(export_spool.frames(path)) == [b"one"]
