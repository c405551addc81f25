"""A server that is absent or refuses uploads costs one log line and nothing else."""

from __future__ import annotations

import http.server
import threading

import pytest
import torch

import relumine
from tests.helpers.step_hooks import step_hooks


def run(mlp, train, url, capsys):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = relumine.watch(model, optimizer, url=url, name="alone")
    losses = train(model, optimizer, steps=60)
    monitor.close(timeout=1.0)
    return losses, monitor, capsys.readouterr().err.splitlines()


def test_an_absent_server_costs_one_warning_and_no_number(mlp, train, capsys):
    model = mlp()
    bare = train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), steps=60)
    losses, monitor, lines = run(mlp, train, "http://127.0.0.1:9", capsys)
    assert losses == bare
    (warning,) = [line for line in lines if "cannot reach http://127.0.0.1:9 (connection refused)" in line]
    assert warning.startswith("relumine: WARNING ")
    assert "`relumine-server serve`" in warning
    assert "RELUMINE_URL" in warning
    assert "no upload reached the server" in lines[-2]
    assert "relumine sync" in lines[-1]
    assert monitor.sdk_stats()["errors"] == 0


@pytest.fixture
def responding():
    """A server that responds to every POST with the given status and body."""
    servers = []

    def start(status: int, body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body"), [(202, b"garbage"), (500, b"<html>"), (422, b'{"code": "x"}'), (301, b""), (413, b"{}")]
)
def test_unexpected_responses_do_not_end_the_training(status, body, responding, mlp, train, capsys):
    losses, monitor, lines = run(mlp, train, responding(status, body), capsys)
    assert len(losses) == 60
    assert monitor.sdk_stats()["errors"] == 0
    said = ("data is buffered in", "upload rejected", "is larger than the server or a proxy takes")
    warnings = [line for line in lines if any(words in line for words in said)]
    assert len(warnings) == 1


def test_internal_errors_are_suppressed_and_finally_disable_the_sdk(mlp, train, memory, monkeypatch, capsys):
    from relumine._capture import forward_hooks

    def broken(*_, **__):
        raise RuntimeError("inside")

    monkeypatch.setattr(forward_hooks.LayerRecorder, "record", broken)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = relumine.watch(model, optimizer, every=1)
    assert len(train(model, optimizer)) == 40
    monitor.close()
    output = capsys.readouterr().err
    assert output.count("internal error suppressed") == 1
    assert output.count("disabled after 10 internal errors") == 1
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_strict_raises_internal_errors(mlp, train, memory, monkeypatch):
    from relumine._capture import forward_hooks

    def broken(*_, **__):
        raise RuntimeError("inside")

    monkeypatch.setattr(forward_hooks.LayerRecorder, "record", broken)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="inside"), relumine.watch(model, optimizer, strict=True):
        train(model, optimizer)


@pytest.mark.parametrize("options", [{"mode": "loud"}, {"url": "ftp://x"}, {"run_id": "a b"}])
def test_settings_that_cannot_be_used_are_refused_at_once(options, mlp):
    model = mlp()
    with pytest.raises(relumine.SettingsError):
        relumine.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_disabled_does_nothing(mlp, train):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, mode="disabled") as monitor:
        train(model, optimizer)
        monitor.log(loss=1.0)
        assert monitor.flush()
    assert monitor.sdk_stats() == {}
    assert step_hooks(optimizer) == 0
