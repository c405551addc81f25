"""What commands say where the server cannot be reached, wants a key, or is another program."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import relumine
from relumine.cli import main
from tests.helpers.live_server import listening

COMMANDS = [["runs"], ["alerts"], ["report", "r"], ["open", "r", "--print"]]


def refusal(arguments, capsys):
    """The only line that a command prints on standard error."""
    capsys.readouterr()
    assert main(arguments) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_does_not_respond_is_named_with_what_helps(command, capsys, monkeypatch):
    monkeypatch.setenv("RELUMINE_URL", "http://127.0.0.1:9")
    line = refusal(command, capsys)
    assert "cannot reach http://127.0.0.1:9 (connection refused)" in line
    assert "relumine serve" in line
    assert "RELUMINE_URL" in line


def test_without_a_key_and_with_a_wrong_one_the_sentences_differ(tmp_path, capsys, monkeypatch):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        monkeypatch.setenv("RELUMINE_URL", url)
        with relumine.Client(url) as client:
            admin = client.create_key("admin").key
        with relumine.Client(url, admin) as client:
            ingest = client.create_key("ingest").key
            revoked = client.create_key("read")
            client.revoke_key(revoked.key_id)
        for command in COMMANDS:
            monkeypatch.delenv("RELUMINE_API_KEY", raising=False)
            line = refusal(command, capsys)
            assert f"{url} requires an API key" in line
            assert "relumine-server keys create" in line
            for key, reason in [("rlm_read_x", "does not know it"), (revoked.key, "revoked"), (ingest, "scope read")]:
                monkeypatch.setenv("RELUMINE_API_KEY", key)
                line = refusal(command, capsys)
                assert url in line
                assert reason in line
                assert key not in line


class Page(BaseHTTPRequestHandler):
    """Another program's answers."""

    status = 200

    def do_GET(self):
        body = b"<html>\x1b]0;x\x07</html>"
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("status", [200, 301, 401, 404, 500, 502])
def test_another_program_is_recognised(status, capsys, monkeypatch):
    handler = type("Handler", (Page,), {"status": status})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("RELUMINE_URL", f"http://127.0.0.1:{server.server_port}")
        for command in COMMANDS:
            assert "is not a Relumine server" in refusal(command, capsys)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
