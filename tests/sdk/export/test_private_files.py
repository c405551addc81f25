"""Spooled uploads are readable by their user alone, and never written through a link or a folder of another user."""

from __future__ import annotations

import os
import stat

import pytest
import torch
from torch import nn

import relumine
from relumine.cli import main

UNREACHABLE = "http://127.0.0.1:9"


def train(**options):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = relumine.watch(model, optimizer, every=1, **options)
    for step in range(20):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
        if step % 5 == 4:
            monitor.flush(0.3)
    monitor.close(timeout=1.0)
    stats = monitor.sdk_stats()
    parts = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"]
    assert parts + sum(stats["dropped_steps"].values()) == stats["sampled_steps"] == 20
    return stats


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
@pytest.mark.parametrize("options", [{"mode": "offline"}, {"mode": "local"}, {"url": UNREACHABLE}], ids=str)
def test_folder_and_files_are_for_their_user_alone_whatever_the_umask(options, umask, tmp_path):
    previous = os.umask(umask)
    try:
        train(**options)
    finally:
        os.umask(previous)
    folder = tmp_path / "relumine"
    (file,) = folder.rglob("*.uploads")
    assert [mode(folder), mode(file.parent), mode(file)] == [0o700, 0o700, 0o600]


def make_link(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")


def make_foreign(folder, _tmp_path):
    folder.mkdir(mode=0o777)
    os.chown(folder, 12345, 12345)


def make_dangling(folder, tmp_path):
    folder.symlink_to(tmp_path / "elsewhere" / "nothing")


@pytest.mark.parametrize("make", [make_link, make_foreign, make_dangling])
@pytest.mark.parametrize("options", [{"mode": "offline"}, {"url": UNREACHABLE}], ids=str)
def test_an_unsafe_folder_is_named_once_and_uploads_are_dropped_and_counted(options, make, tmp_path, capsys):
    if make is make_foreign and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "relumine"
    make(folder, tmp_path)
    stats = train(**options)
    assert stats["dropped_steps"] == {"spool_unsafe": 20}
    output = capsys.readouterr().err
    assert output.count("cannot write the spool, uploads are dropped and counted") == 1
    assert ("is a link" if folder.is_symlink() else "belongs to another user") in output
    assert not list(tmp_path.rglob("*.uploads"))
    assert main(["sync", "--url", UNREACHABLE]) == (0 if make is make_dangling else 2)


def test_a_link_in_place_of_a_run_or_a_file_is_not_followed(tmp_path):
    folder = tmp_path / "relumine"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "run").symlink_to(tmp_path / "elsewhere")
    assert train(mode="offline", run_id="run")["dropped_steps"] == {"spool_unsafe": 20}
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_of_another_user_is_named_by_a_sync_and_not_passed_over(tmp_path, monkeypatch, capsys):
    foreign = tmp_path / "relumine" / "run"
    foreign.mkdir(parents=True)
    scandir = os.scandir

    def deny(path):
        if os.fspath(path) == str(foreign):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    monkeypatch.setattr(os, "geteuid", lambda: foreign.lstat().st_uid + 1)
    assert main(["sync", str(foreign.parent), "--url", UNREACHABLE]) == 1
    assert f"not sent: {foreign}: belongs to another user, who alone can send it" in capsys.readouterr().err
