"""An outage costs resolution in time and nothing else: every look is sent, kept or counted as dropped."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
import torch
from torch import nn

import relumine
from relumine import _buffer, _sender, _spool
from relumine._spool import Backlog, Spool, frames
from relumine._uploads import Outgoing
from relumine.wire import Upload


class Scripted:
    """A server whose answer to each request is decided by ``decide``; keeps what it accepted."""

    def __init__(self, decide):
        self.accepted: list[Upload] = []
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests += 1
                status, headers = decide(outer, body)
                answer = b"{}"
                if status == 202:
                    outer.accepted.append(Upload.model_validate_json(body))
                    answer = json.dumps({"accepted": 1, "duplicate": False, "every": None, "alerts": []}).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def looks(self):
        return sum(r.sampled_steps for upload in self.accepted for r in upload.records if not r.layer_id)


@pytest.fixture
def scripted():
    servers = []

    def start(decide):
        servers.append(Scripted(decide))
        return servers[-1]

    yield start
    for one in servers:
        one.server.shutdown()
        one.server.server_close()


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


def adds_up(stats, server):
    assert stats["sent"] + stats["kept"] + stats["waiting"] + sum(stats["dropped"].values()) == stats["samples"]
    assert server.looks == stats["sent"]
    seqs = [upload.seq for upload in server.accepted]
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("answer", [(503, {}), (429, {"Retry-After": "1"}), (500, {}), (404, {})], ids=str)
def test_every_look_of_an_outage_is_sent_afterwards_in_order(answer, scripted, monkeypatch):
    monkeypatch.setattr(_sender, "BACKOFF_S", (0.01, 0.05))
    server = scripted(lambda server, _body: answer if 2 <= server.requests <= 3 else (202, {}))
    stats = training(server.url, last_flush=20.0)
    adds_up(stats, server)
    if answer[0] == 404:
        assert stats["dropped"]["refused"] > 0
    else:
        assert (stats["sent"], stats["kept"], stats["dropped"]) == (60, 0, {})
        assert [r.step for upload in server.accepted for r in upload.records if r.layer_id == 1] == list(range(1, 61))


def test_a_server_that_never_comes_back_leaves_every_look_on_disk(scripted):
    server = scripted(lambda server, _body: (503, {}))
    stats = training(server.url)
    adds_up(stats, server)
    assert (stats["sent"], stats["kept"], stats["dropped"]) == (0, 60, {})


def test_what_a_full_buffer_drops_is_counted(scripted, monkeypatch):
    monkeypatch.setattr(_buffer.Buffer.__init__, "__defaults__", (5, 2**30))
    server = scripted(lambda server, _body: (202, {}))
    stats = training(server.url, flush_every=20)
    adds_up(stats, server)
    assert stats["dropped"]["buffer_full"] > 0
    assert server.accepted[-1].dropped == stats["dropped"]


def test_a_full_disk_is_counted_and_harms_nothing(scripted, monkeypatch):
    monkeypatch.setattr(_spool.Spool.__init__, "__defaults__", (4_000,))
    server = scripted(lambda server, _body: (503, {}))
    stats = training(server.url, flush_every=5)
    adds_up(stats, server)
    assert stats["dropped"]["spool_full"] > 0
    assert stats["errors"] == 0


def test_an_upload_that_is_too_large_arrives_in_parts_each_record_once(scripted):
    server = scripted(lambda server, body: (413, {}) if len(body) > 20_000 else (202, {}))
    stats = training(server.url, width=64, flush_every=1000)
    adds_up(stats, server)
    assert stats["sent"] == 60
    records = [(r.layer_id, r.step) for upload in server.accepted for r in upload.records]
    assert sorted(records) == sorted({(layer, step) for layer in range(3) for step in range(1, 61)})
    assert records == sorted(records, key=lambda place: place[1])
    assert [upload.closing for upload in server.accepted][-1] == "finished"


def test_a_spool_torn_at_any_byte_of_its_last_frame_gives_everything_before_it(tmp_path):
    spool = Spool(tmp_path / "a.uploads")
    starts = [spool.append(bytes([65 + i]) * (20 + i)) for i in range(4)]
    spool.close()
    whole = (tmp_path / "a.uploads").read_bytes()
    for size in range(starts[3], len(whole)):
        (tmp_path / "a.uploads").write_bytes(whole[:size])
        assert [body[:1] for body in frames(tmp_path / "a.uploads")] == [b"A", b"B", b"C"]
    for place in range(starts[3], len(whole)):
        torn = bytearray(whole)
        torn[place] ^= 0xFF
        (tmp_path / "a.uploads").write_bytes(bytes(torn))
        assert [body[:1] for body in frames(tmp_path / "a.uploads")] == [b"A", b"B", b"C"]


def test_a_backlog_gives_out_in_order_and_its_file_goes_with_the_last_one(tmp_path):
    backlog = Backlog(Spool(tmp_path / "x" / "a.uploads"))
    for i in range(3):
        backlog.add(Outgoing(b"%d" % i, i, 2 * i, 0, (), None))
    assert (len(backlog), backlog.looks, backlog.records) == (3, 3, 6)
    backlog.replace_first([Outgoing(body, 0, 0, 0, (), None) for body in (b"0a", b"0b")])
    given = []
    while backlog:
        given.append(backlog.first()[1])
        backlog.done()
    assert given == [b"0a", b"0b", b"1", b"2"]
    assert not (tmp_path / "x" / "a.uploads").exists()
