"""Uploads that could not be sent are spooled, and arrive exactly once however often they are replayed."""

from __future__ import annotations

import os

import httpx
import pytest
import torch
from torch import nn

import relumine
from relumine._export import spool as export_spool
from relumine.cli import main
from tests.helpers.live_server import listening


@pytest.fixture
def server(tmp_path):
    """The address of a real server on a free port."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url


def train_watched(mlp, train, **options):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = relumine.watch(model, optimizer, every=1, **options)
    train(model, optimizer)
    monitor.close(timeout=1.0)
    return monitor


def stored_steps(server, run_id):
    with relumine.Client(server) as client:
        return client.series(run_id, 1, ["weight_norm"]).step


@pytest.mark.parametrize("options", [{"mode": "offline"}, {"url": "http://127.0.0.1:9"}], ids=["offline", "absent"])
def test_spooled_uploads_arrive_exactly_once_however_often_they_are_replayed(
    options, mlp, train, server, tmp_path, capsys
):
    monitor = train_watched(mlp, train, **options)
    directory = tmp_path / "relumine"
    (file,) = directory.rglob("*.uploads")
    content = file.read_bytes()
    assert main(["sync", str(directory), "--url", server]) == 0
    assert not file.exists()
    assert stored_steps(server, monitor.run_id) == list(range(1, 41))
    file.write_bytes(content)
    assert main(["sync", str(directory), "--url", server]) == 0
    assert stored_steps(server, monitor.run_id) == list(range(1, 41))
    assert httpx.get(f"{server}/v1/runs/{monitor.run_id}").json()["status"] == "finished"


def test_the_file_remains_while_the_server_is_away(mlp, train, tmp_path, capsys):
    train_watched(mlp, train, mode="offline")
    assert main(["sync", str(tmp_path / "relumine"), "--url", "http://127.0.0.1:9"]) == 1
    assert len(list((tmp_path / "relumine").rglob("*.uploads"))) == 1


def test_a_file_torn_at_any_byte_of_its_last_frame_yields_all_earlier_frames(tmp_path):
    path = tmp_path / "x.uploads"
    spool = export_spool.Spool(path)
    spool.append(b"first")
    intact_size = path.stat().st_size
    spool.append(b"second")
    spool.close()
    raw = path.read_bytes()
    for end in range(intact_size, len(raw)):
        path.write_bytes(raw[:end])
        assert list(export_spool.frames(path)) == [b"first"]
    damaged = bytearray(raw)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert list(export_spool.frames(path)) == [b"first"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer Pythons warn of forks beside threads
def test_a_forked_child_neither_sends_nor_hangs_nor_ends_the_run(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = relumine.watch(model, optimizer, every=1, strict=True)
    train(model, optimizer, steps=5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            optimizer.step()
            monitor.log(loss=1.0)
            monitor.close()
            is_detached = monitor._session.loop.closed and not nn.modules.module._global_forward_hooks
            code = 0 if is_detached else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    train(model, optimizer, steps=5)
    monitor.close()
    assert [record.step for record in memory.records("1")] == list(range(1, 11))
