"""An outage loses nothing: every sampled step is acknowledged, spooled, or counted as dropped."""

from __future__ import annotations

import http.server
import json
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import relumine
from relumine._export import queue, retry, sender
from relumine._export import spool as export_spool
from relumine._export.delivery import Delivery
from relumine._export.spool import Backlog, Spool, frames
from relumine._export.upload_builder import EncodedUpload
from relumine._export.upload_split import UploadPart, encode_upload, split_upload
from relumine.cli import main
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo, Upload


class ScriptedServer:
    """A server whose response to each request is chosen by ``decide``; keeps the uploads it accepted."""

    def __init__(self, decide):
        self.accepted: list[Upload] = []
        self.requests = 0
        self.decide = decide
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests += 1
                status, headers = outer.decide(outer, body)
                content = b"{}"
                if status == 202:
                    outer.accepted.append(Upload.model_validate_json(body))
                    response = {"accepted": 1, "analyzed": True, "duplicate": False, "sample_every": None, "alerts": []}
                    content = json.dumps(response).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def sampled_steps(self):
        return sum(r.sampled_steps for upload in self.accepted for r in upload.records if not r.layer_id)


@pytest.fixture
def scripted():
    servers = []

    def start(decide):
        servers.append(ScriptedServer(decide))
        return servers[-1]

    yield start
    for scripted_server in servers:
        scripted_server.server.shutdown()
        scripted_server.server.server_close()


def training(url, steps=60, width=16, flush_every=10, last_flush=0.0):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = relumine.watch(model, optimizer, every=1, url=url)
    for step in range(1, steps + 1):
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
        if step % flush_every == 0:
            monitor.flush(0.2)
    monitor.flush(last_flush)
    monitor.close(timeout=5.0)
    return monitor.sdk_stats()


def assert_consistent(stats, server):
    dropped = sum(stats["dropped_steps"].values())
    total = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"] + dropped
    assert total == stats["sampled_steps"]
    assert server.sampled_steps == stats["acked_steps"]
    seqs = [upload.seq for upload in server.accepted]
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("failure", [(503, {}), (429, {"Retry-After": "1"}), (500, {}), (404, {})], ids=str)
def test_every_sampled_step_of_an_outage_is_sent_afterwards_in_order(failure, scripted, monkeypatch):
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))
    server = scripted(lambda server, _body: failure if 2 <= server.requests <= 3 else (202, {}))
    stats = training(server.url, last_flush=20.0)
    assert_consistent(stats, server)
    if failure[0] == 404:
        assert stats["dropped_steps"]["refused"] > 0
    else:
        assert (stats["acked_steps"], stats["spooled_steps"], stats["dropped_steps"]) == (60, 0, {})
        assert [r.step for upload in server.accepted for r in upload.records if r.layer_id == 1] == list(range(1, 61))


def test_a_server_that_never_comes_back_leaves_every_sampled_step_on_disk(scripted):
    server = scripted(lambda server, _body: (503, {}))
    stats = training(server.url)
    assert_consistent(stats, server)
    assert (stats["acked_steps"], stats["spooled_steps"], stats["dropped_steps"]) == (0, 60, {})


def test_the_end_of_a_training_waits_for_a_server_that_answers_slowly(scripted):
    server = scripted(lambda server, _body: (time.sleep(1.5), (202, {}))[1])  # longer than two waits for a response
    stats = training(server.url, steps=10, flush_every=1000)
    assert_consistent(stats, server)
    assert (stats["acked_steps"], stats["spooled_steps"], stats["dropped_steps"]) == (10, 0, {})
    assert [upload.final_status for upload in server.accepted][-1] == "finished"


def test_a_flush_that_waits_for_a_server_that_is_away_rests_between_its_attempts(scripted, monkeypatch):
    ticks = []
    replay = Delivery.replay_spool
    monkeypatch.setattr(Delivery, "replay_spool", lambda delivery: (ticks.append(1), replay(delivery)))
    server = scripted(lambda _server, _body: (503, {}))
    stats = training(server.url, steps=10, last_flush=1.0)
    assert stats["spooled_steps"] == 10
    assert len(ticks) <= 2 + (1.0 + 0.2) / sender.FLUSH_POLL_S + 2  # a busy loop would make thousands


def test_sampled_steps_dropped_by_a_full_queue_are_counted(scripted, monkeypatch):
    monkeypatch.setattr(queue.SampleQueue.__init__, "__defaults__", (5, 2**30))
    server = scripted(lambda server, _body: (202, {}))
    stats = training(server.url, flush_every=20)
    assert_consistent(stats, server)
    assert stats["dropped_steps"]["buffer_full"] > 0
    assert server.accepted[-1].dropped == stats["dropped_steps"]


def test_sampled_steps_dropped_by_a_full_disk_are_counted_and_the_training_continues(scripted, monkeypatch):
    monkeypatch.setattr(export_spool.Spool.__init__, "__defaults__", (4_000,))
    server = scripted(lambda server, _body: (503, {}))
    stats = training(server.url, flush_every=5)
    assert_consistent(stats, server)
    assert stats["dropped_steps"]["spool_full"] > 0
    assert stats["errors"] == 0


def test_an_upload_that_is_too_large_arrives_in_parts_each_record_once(scripted):
    server = scripted(lambda server, body: (413, {}) if len(body) > 20_000 else (202, {}))
    stats = training(server.url, width=64, flush_every=1000)
    assert_consistent(stats, server)
    assert stats["acked_steps"] == 60
    records = [(r.layer_id, r.step) for upload in server.accepted for r in upload.records]
    assert sorted(records) == sorted({(layer, step) for layer in range(3) for step in range(1, 61)})
    assert records == sorted(records, key=lambda layer_and_step: layer_and_step[1])
    assert [upload.final_status for upload in server.accepted][-1] == "finished"


def test_a_spool_torn_at_any_byte_of_its_last_frame_yields_all_earlier_frames(tmp_path):
    spool = Spool(tmp_path / "a.uploads")
    offsets = [spool.append(bytes([65 + i]) * (20 + i)) for i in range(4)]
    spool.close()
    intact = (tmp_path / "a.uploads").read_bytes()
    for size in range(offsets[3], len(intact)):
        (tmp_path / "a.uploads").write_bytes(intact[:size])
        assert [body[:1] for body in frames(tmp_path / "a.uploads")] == [b"A", b"B", b"C"]
    for offset in range(offsets[3], len(intact)):
        torn = bytearray(intact)
        torn[offset] ^= 0xFF
        (tmp_path / "a.uploads").write_bytes(bytes(torn))
        assert [body[:1] for body in frames(tmp_path / "a.uploads")] == [b"A", b"B", b"C"]


def test_a_backlog_returns_uploads_in_order_and_deletes_its_file_with_the_last(tmp_path):
    backlog = Backlog(Spool(tmp_path / "x" / "a.uploads"))
    for i in range(3):
        backlog.add(EncodedUpload(b"%d" % i, i, 2 * i, 0))
    assert (len(backlog), backlog.sampled_steps) == (3, 3)
    backlog.replace_first([EncodedUpload(body, 0, 0, 0) for body in (b"0a", b"0b")])
    bodies = []
    while backlog:
        bodies.append(backlog.first()[1])
        backlog.remove_first()
    assert bodies == [b"0a", b"0b", b"1", b"2"]
    assert not (tmp_path / "x" / "a.uploads").exists()


def test_a_record_too_large_for_a_proxy_is_sent_in_parts_by_ranges_of_its_units(scripted):
    server = scripted(lambda server, body: (413, {}) if len(body) > 20_000 else (202, {}))
    stats = training(server.url, width=1_500, steps=6, flush_every=2, last_flush=60.0)
    assert (stats["acked_steps"], stats["dropped_steps"], stats["too_large_records"]) == (6, {}, 0)
    seqs = [upload.seq for upload in server.accepted]
    assert seqs == sorted(set(seqs))
    for layer_id in (1, 2):
        parts = [upload for upload in server.accepted if upload.first_unit is not None]
        of_layer = [(part.records[0], part.first_unit) for part in parts if part.records[0].layer_id == layer_id]
        for step in range(1, 7):
            ranges = [(first, first + record.units) for record, first in of_layer if record.step == step]
            assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
            assert ranges[-1][1] == 1_500


def test_the_parts_of_a_record_keep_every_value_as_the_whole_record_has_it():
    chance = np.random.default_rng(0)
    columns = {"active": np.arange(4_000, dtype=np.uint32), "var": chance.random(4_000, np.float32)}
    columns["var"][7] = 1e-7  # beyond float16: the column travels as float32, and so do all of its parts
    scalars = {"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 5_000}
    payload = {"run": {"id": "r"}, "session": "s", "seq": 1024}
    whole = encode_upload(payload, RecordTable.from_values([scalars], [columns]))
    parts = [UploadPart(whole, 0, 1, 0)]
    for _ in range(2):
        parts = [smaller for part in parts for smaller in split_upload(part.body, part.previous_seq)]
    uploads = [Upload.model_validate_json(part.body) for part in parts]
    assert [(upload.first_unit, len(upload.records)) for upload in uploads] == [
        (0, 1),
        (1_000, 1),
        (2_000, 1),
        (3_000, 1),
    ]
    expected = Upload.model_validate_json(whole).records.arrays(0)
    for name, values in expected.items():
        joined = np.concatenate([upload.records.arrays(0)[name] for upload in uploads])
        assert joined.tolist() == values.tolist()


def test_a_record_that_fits_in_no_part_is_kept_on_disk_counted_and_named_once(scripted, tmp_path, capsys):
    server = scripted(lambda server, body: (413, {}) if b'"units":{' in body else (202, {}))
    stats = training(server.url, width=64, steps=6, flush_every=2, last_flush=60.0)
    dropped = sum(stats["dropped_steps"].values())
    total = stats["acked_steps"] + stats["spooled_steps"] + stats["pending_steps"] + dropped
    assert total == stats["sampled_steps"] == 6
    assert (stats["acked_steps"], stats["dropped_steps"]) == (0, {"too_large": 6})
    assert stats["too_large_records"] == 12  # each counted once, in however many parts
    seqs = [upload.seq for upload in server.accepted]
    assert seqs == sorted(set(seqs))
    output = capsys.readouterr().err
    assert output.count("is larger than the server or a proxy takes, and is kept on disk (http") == 1
    assert "no dead layers" not in output
    assert "send them with: relumine sync" in output
    (file,) = (tmp_path / "relumine").rglob("*.uploads")
    assert main(["sync", "--url", server.url]) == 1
    assert "413" in capsys.readouterr().err
    assert file.exists()
    server.decide = lambda server, body: (202, {})
    assert main(["sync", "--url", server.url]) == 0
    assert not file.exists()
    records = {(r.layer_id, r.step) for upload in server.accepted for r in upload.records}
    assert records == {(layer, step) for layer in range(3) for step in range(1, 7)}
    assert {r.units for upload in server.accepted for r in upload.records if r.layer_id} <= {4, 8, 16, 32, 64}


def test_descriptions_and_numbers_that_make_an_upload_too_large_are_sent_in_parts():
    layers = [LayerInfo(layer_id=number, name=f"layer{number}", units=4) for number in range(1, 40)]
    metrics = [{"step": step, "name": "loss", "value": 0.5} for step in range(40)]
    records = [{"layer_id": 0, "first_step": 1, "step": 1}]
    payload = {"run": {"id": "r"}, "session": "s", "seq": 1024, "metrics": metrics, "final_status": "finished"}
    payload["layers"] = [layer.model_dump(mode="json") for layer in layers]
    waiting = [UploadPart(encode_upload(payload, RecordTable.from_values(records, [{}])), 1, 1, 0)]
    accepted = []
    while waiting:
        part = waiting.pop(0)
        if len(part.body) > 2_000:
            parts = split_upload(part.body, part.previous_seq)
            assert parts
            waiting = parts + waiting
        else:
            accepted.append(Upload.model_validate_json(part.body))
    assert [layer for upload in accepted for layer in upload.layers] == layers
    assert [metric.step for upload in accepted for metric in upload.metrics] == list(range(40))
    assert sum(len(upload.records) for upload in accepted) == 1
    assert [upload.seq for upload in accepted] == sorted({upload.seq for upload in accepted})
    assert [upload.final_status for upload in accepted][-1] == "finished"
