"""``relumine sync`` loses nothing: beside a training, with damaged files, and against servers that refuse or forgot."""

from __future__ import annotations

import json
import struct
import zlib

import httpx
import numpy as np
import pytest
import torch
from torch import nn

import relumine
from relumine._export import file_locks, spool_frames, sync
from relumine._export.spool import OfflineTransport, Spool, frames
from relumine._export.upload_split import encode_upload
from relumine.cli import main
from relumine.schemas.record_table import RecordTable
from tests.helpers.live_server import listening

ACTIVE = np.array([1, 2, 3, 4], np.int32)


@pytest.fixture
def server(tmp_path):
    """The address of a real server on a free port."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url


@pytest.fixture
def folder(tmp_path):
    """The folder of spooled uploads."""
    return tmp_path / "relumine"


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as NFS may be."""
    monkeypatch.setattr(file_locks, "HAS_LOCKS", False)


def upload(seq, run="r", session="s", *, described=True):
    records = [{"layer_id": layer, "first_step": seq, "step": seq, "n_examples": 8} for layer in (0, 1)]
    payload = {"run": {"id": run}, "session": session, "seq": 1024 * seq}
    if described:
        payload["layers"] = [{"layer_id": 1, "name": "act1", "units": 4}]
    columns = [{}, {"active": ACTIVE}]
    return encode_upload(payload, RecordTable.from_values(records, columns))


def write(path, bodies):
    spool = Spool(path)
    for body in bodies:
        spool.append(body)
    spool.close()


def stored(server, run="r"):
    answer = httpx.get(f"{server}/v1/runs/{run}/layers/1/series", params={"statistics": "n_examples"})
    return answer.json()["step"]


def frame_starts(content):
    starts = [0]
    while starts[-1] < len(content):
        starts.append(starts[-1] + 8 + struct.unpack_from("<I", content, starts[-1])[0])
    return starts


def model_and_optimizer():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def take_steps(model, optimizer, count):
    for _ in range(count):
        model(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("has_locks", [True, False], ids=["locks", "no locks"])
def test_everything_arrives_once_where_a_training_is_synced_while_it_writes(server, folder, has_locks, monkeypatch):
    monkeypatch.setattr(file_locks, "HAS_LOCKS", has_locks)
    model, optimizer = model_and_optimizer()
    monitor = relumine.watch(model, optimizer, every=1, mode="offline")
    for _ in range(4):
        take_steps(model, optimizer, 10)
        monitor.flush(20.0)
        assert main(["sync", str(folder), "--url", server]) == 0
        assert len(stored(server, monitor.run_id)) == monitor.sdk_stats()["sampled_steps"]
    take_steps(model, optimizer, 10)
    monitor.close()
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server, monitor.run_id) == list(range(1, 51))
    assert monitor.sdk_stats()["acked_steps"] == 50
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert httpx.get(f"{server}/v1/runs/{monitor.run_id}").json()["status"] == "finished"


def test_a_file_that_a_process_has_open_is_neither_deleted_nor_truncated(server, folder):
    path = folder / "r" / "s.uploads"
    transport = OfflineTransport(path)
    transport.post(upload(1))
    size = path.stat().st_size
    identity = path.stat().st_ino
    assert main(["sync", str(folder), "--url", server]) == 0
    assert (path.stat().st_size, path.stat().st_ino) == (size, identity)
    transport.post(upload(2, described=False))
    transport.close()
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server) == [1, 2]
    assert not path.exists()


def test_an_upload_written_while_its_file_is_taken_away_is_written_again(folder, no_locks):
    path = folder / "r" / "s.uploads"
    spool = Spool(path)
    spool.append(upload(1))
    path.rename(path.with_name("s.taken.uploads"))
    spool.append(upload(2))
    path.unlink()
    spool.append(upload(3))
    spool.close()
    assert [json.loads(body)["seq"] for body in frames(path)] == [3 * 1024]


def test_an_upload_written_between_the_last_read_and_the_deletion_is_not_lost(server, folder, no_locks, monkeypatch):
    path = folder / "r" / "s.uploads"
    transport = OfflineTransport(path)
    transport.post(upload(1))
    delete = sync._FileSync._delete

    def write_and_delete(self, position):
        transport.post(upload(2))
        delete(self, position)
        transport.post(upload(3))

    monkeypatch.setattr(sync._FileSync, "_delete", write_and_delete)
    assert main(["sync", str(folder), "--url", server]) == 0
    monkeypatch.undo()
    transport.close()
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server) == [1, 2, 3]


@pytest.mark.parametrize("damaged", [0, 2, 19])
@pytest.mark.parametrize("offset", [0, 2, 5, 8, 12, 40], ids=lambda offset: f"byte {offset}")
def test_a_damaged_frame_hides_no_other(folder, damaged, offset):
    path = folder / "r" / "s.uploads"
    write(path, [upload(seq) for seq in range(1, 21)])
    content = bytearray(path.read_bytes())
    content[frame_starts(content)[damaged] + offset] ^= 0x55
    path.write_bytes(content)
    seqs = [json.loads(body)["seq"] // 1024 for body in frames(path)]
    assert seqs == [seq for seq in range(1, 21) if seq != damaged + 1]


def test_frames_without_a_marker_are_read_too(folder):
    folder.mkdir()
    bodies = [upload(seq) for seq in range(1, 6)]
    raw = [struct.pack("<II", len(body), zlib.crc32(body)) + body for body in bodies]
    (folder / "x.uploads").write_bytes(b"".join(raw))
    assert list(frames(folder / "x.uploads")) == bodies
    raw[2] = raw[2][:-1] + b"?"
    (folder / "x.uploads").write_bytes(b"".join(raw))
    assert list(frames(folder / "x.uploads")) == bodies[:2] + bodies[3:]


def test_damaged_bytes_are_moved_aside_and_everything_else_is_sent(server, folder, capsys):
    path = folder / "r" / "s.uploads"
    write(path, [upload(seq) for seq in range(1, 21)])
    content = bytearray(path.read_bytes())
    starts = frame_starts(content)
    content[starts[2] + 30] ^= 1
    path.write_bytes(content)
    assert main(["sync", str(folder), "--url", server]) == 1
    output = capsys.readouterr()
    assert "\n19 uploads accepted" in output.out
    assert output.err.count("\n") == 1
    assert "a part of it is damaged" in output.err
    assert stored(server) == [seq for seq in range(1, 21) if seq != 3]
    assert path.with_name("s.damaged").read_bytes() == content[starts[2] : starts[3]]
    assert not path.exists()
    assert main(["sync", str(folder), "--url", server]) == 0


def test_a_file_that_is_no_upload_is_named_and_left(server, folder, capsys):
    folder.mkdir()
    (folder / "notes.uploads").write_text("something else\n" * 50)
    (folder / "a link.uploads").symlink_to(folder / "notes.uploads")
    write(folder / "r" / "s.uploads", [upload(1)])
    for accepted in (1, 0):
        assert main(["sync", str(folder), "--url", server]) == 1
        output = capsys.readouterr()
        assert f"{accepted} uploads accepted" in output.out
        assert "notes.uploads: holds no upload, and is left as it is" in output.err
        assert len(output.err.splitlines()) == 2
    assert (folder / "notes.uploads").read_text().startswith("something else")


def test_a_tail_torn_at_any_byte_loses_no_earlier_upload(folder):
    accepted = []

    class Accepting:
        def post(self, body):
            accepted.append(json.loads(body)["seq"] // 1024)

    path = folder / "r" / "s.uploads"
    write(path, [upload(1), upload(2), upload(3)])
    content = path.read_bytes()
    start = frame_starts(content)[2]
    for end in range(start + 1, len(content)):
        path.write_bytes(content[:end])
        accepted.clear()
        result = sync.send_spooled(folder, Accepting())
        assert (accepted, len(result.problems)) == ([1, 2], 1)
        assert path.with_name("s.damaged").read_bytes() == content[start:end]
        path.with_name("s.damaged").unlink()
        assert not path.exists()


def test_a_torn_tail_of_a_file_that_is_still_written_waits(server, folder):
    path = folder / "r" / "s.uploads"
    transport = OfflineTransport(path)
    transport.post(upload(1))
    frame = spool_frames.encode(upload(2))
    with path.open("ab") as file:
        file.write(frame[:50])
    assert main(["sync", str(folder), "--url", server]) == 0
    with path.open("ab") as file:
        file.write(frame[50:])
    transport.close()
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server) == [1, 2]
    assert not path.with_name("s.damaged").exists()


def test_a_refused_upload_is_moved_aside_and_blocks_no_other(server, folder, capsys):
    path = folder / "r" / "s.uploads"
    refused = upload(2).replace(b'"seq":2048', b'"seq":-1')
    write(path, [upload(1), refused, upload(3)])
    assert main(["sync", str(folder), "--url", server]) == 1
    assert "422" in capsys.readouterr().err
    assert stored(server) == [1, 3]
    assert list(frames(path.with_name("s.refused"))) == [refused]
    assert not path.exists()


def test_what_a_server_forgot_is_described_again_from_earlier_uploads_of_the_file(server, folder):
    path = folder / "r" / "s.uploads"
    transport = OfflineTransport(path)
    transport.post(upload(1))
    assert main(["sync", str(folder), "--url", server]) == 0
    httpx.delete(f"{server}/v1/runs/r").raise_for_status()
    transport.post(upload(2, described=False))
    transport.close()
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server) == [2]


def test_parts_of_an_upload_that_was_cut_replace_it(server, folder):
    path = folder / "r" / "s.uploads"
    records = [{"layer_id": layer, "first_step": step, "step": step} for step in (1, 2) for layer in (0, 1)]
    payload = {"run": {"id": "r"}, "session": "s", "layers": [{"layer_id": 1, "name": "act1", "units": 4}]}
    table = RecordTable.from_values(records, [{}, {"active": ACTIVE}] * 2)
    whole = encode_upload(payload | {"seq": 1024}, table)
    parts = [encode_upload(payload | {"seq": 512}, table[:2]), encode_upload(payload | {"seq": 1024}, table[2:])]
    write(path, [whole, upload(3), *parts])
    assert main(["sync", str(folder), "--url", server]) == 0
    assert stored(server) == [1, 2, 3]


def test_uploads_of_sync_are_marked_as_replayed_and_those_of_a_training_are_not(server, folder, monkeypatch):
    marks = []
    post = httpx.Client.stream

    def record(self, method, url, **options):
        marks.append(options["headers"].get("relumine-replayed"))
        return post(self, method, url, **options)

    monkeypatch.setattr(httpx.Client, "stream", record)
    write(folder / "r" / "s.uploads", [upload(1)])
    assert main(["sync", str(folder), "--url", server]) == 0
    assert marks == ["true"]
    model, optimizer = model_and_optimizer()
    with relumine.watch(model, optimizer, every=1, url=server):
        take_steps(model, optimizer, 3)
    assert set(marks[1:]) == {None}
