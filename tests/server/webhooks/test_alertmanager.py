"""Real consumers accept the ``alertmanager`` format: Prometheus Alertmanager, and a receiver of its webhooks.

Both are packages of Debian (``make receivers`` installs them): Alertmanager with its ``amtool`` for the list, and
``alertmanager-irc-relay``, which decodes webhooks of version 4 and posts each alert on IRC, for the object.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import Queue

import pytest

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.webhooks.formats import render_body
from relumine_server.webhooks.http_client import WebhookHttpClient
from tests.helpers.notification_samples import CASES, RUN_URL, alert, many_alerts, notification, resolved

NOW = datetime.now(UTC)
OPENED_AT = (NOW - timedelta(minutes=2)).isoformat()


def program(*names):
    """Return the path of the first of these programs that is installed."""
    search_path = os.pathsep.join([os.environ["PATH"], f"{sys.prefix}/receivers/usr/bin"])
    for name in names:
        path = shutil.which(name, path=search_path)
        if path is not None:
            return path
    pytest.fail(f"{names[0]} is not installed: make receivers")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, port, folder):
    """Run a process that listens on ``port`` for the duration of the block."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)  # between two checks of a starting process
        yield
    finally:
        process.kill()  # the relay is slow to leave IRC
        process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


CLIENT = WebhookHttpClient(TargetAllowlist(loopback=True), timeout_s=15)


def post(url, sample):
    """Send a notification as the dispatcher does; return the outcome."""
    return CLIENT.post(url, {}, render_body("alertmanager", sample, url=url))


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    """The address of a real Alertmanager."""
    folder = tmp_path_factory.mktemp("alertmanager")
    port = free_port()
    (folder / "a.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    listen = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    command = [program("prometheus-alertmanager", "alertmanager"), "--config.file=a.yml", "--storage.path=data"]
    with running([*command, *listen], port, folder):
        yield f"http://127.0.0.1:{port}"


def amtool(address, *matchers):
    command = [program("amtool"), f"--alertmanager.url={address}", "alert", "query", "-o", "json", *matchers]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_an_alertmanager_accepts_an_alert_keeps_it_and_resolves_it(alertmanager):
    api = f"{alertmanager}/api/v2/alerts"
    for sample in (alert(opened_at=OPENED_AT, severity="warning"), alert(opened_at=OPENED_AT)):
        outcome = post(api, notification("alert.firing", sample)._replace(created_at=NOW))
        assert outcome.response_status == 200
    warning, critical = sorted(amtool(alertmanager, "layer=fc2"), key=lambda a: a["labels"]["severity"], reverse=True)
    assert (warning["labels"]["severity"], critical["labels"]["severity"]) == ("warning", "critical")
    assert critical["labels"]["alertname"] == "RelumineDying"
    assert critical["generatorURL"].startswith(RUN_URL)
    assert "Fix: lower it to 0.05, its last healthy value." in critical["annotations"]["description"]
    assert datetime.fromisoformat(critical["endsAt"]) > NOW + timedelta(days=6)
    sample = resolved(opened_at=OPENED_AT).model_copy(update={"resolved_at": NOW.isoformat()})
    assert post(api, notification("alert.resolved", sample)._replace(created_at=NOW)).response_status == 200
    assert amtool(alertmanager, "layer=fc2") == []


def test_an_alertmanager_is_sent_every_layer(alertmanager):
    alerts = many_alerts(500, opened_at=OPENED_AT, kind="dead")
    outcome = post(f"{alertmanager}/api/v2/alerts/", notification("alert.firing", *alerts)._replace(created_at=NOW))
    assert outcome.response_status == 200
    assert len(amtool(alertmanager, "kind=dead")) == 500


@pytest.mark.parametrize("case", CASES)
def test_an_alertmanager_accepts_every_event(alertmanager, case):
    outcome = post(f"{alertmanager}/api/v2/alerts", CASES[case]._replace(created_at=NOW))
    assert (outcome.response_status, outcome.response_body) == (200, "")


class _Channel(socketserver.StreamRequestHandler):
    """As much of an IRC server as the relay needs to join and to post."""

    def handle(self):
        for line in self.rfile:
            command, _, rest = line.decode().rstrip("\r\n").partition(" ")
            if command == "USER":
                self.wfile.write(b":irc 001 relay :welcome\r\n")
            elif command == "PING":
                self.wfile.write(f":irc PONG irc {rest}\r\n".encode())
            elif command == "JOIN":
                self.wfile.write(f":relay!relay@irc JOIN {rest.split()[0]}\r\n".encode())
            elif command in {"NOTICE", "PRIVMSG"} and rest.startswith("#"):
                self.server.messages.put(rest)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    """The URL of a real receiver of Alertmanager's webhooks, and the messages that it posts on IRC."""
    irc = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Channel)
    irc.daemon_threads = True
    irc.messages = Queue()
    threading.Thread(target=irc.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("relay")
    port = free_port()
    template = (
        "{{ .Status }} {{ .Labels.alertname }} {{ .Labels.layer }} {{ .Annotations.summary }} {{ .GeneratorURL }}"
    )
    settings = {
        "http_host": "127.0.0.1", "http_port": port, "irc_host": "127.0.0.1", "irc_port": irc.server_address[1],
        "irc_use_ssl": False, "irc_nickname": "relay", "irc_channels": [{"name": "#runs"}],
        "msg_once_per_alert_group": False, "msg_template": template,
    }  # fmt: skip
    (folder / "r.yml").write_text(json.dumps(settings))  # JSON is YAML
    with running([program("alertmanager-irc-relay"), "--config", "r.yml"], port, folder):
        yield f"http://127.0.0.1:{port}/runs", irc.messages
    irc.shutdown()
    irc.server_close()


def test_a_receiver_of_alertmanagers_webhooks_understands_ours(relay):
    url, messages = relay
    alerts = [alert(), alert(layer="fc3", layer_id=3, kind="dead", severity="warning")]
    assert post(url, notification("alert.firing", *alerts)).response_status == 200
    assert post(url, notification("alert.resolved", resolved())).response_status == 200
    assert post(url, CASES["a test"]).response_status == 200
    posted = [messages.get(timeout=60).split(" :", 1)[1] for _ in range(4)]
    assert posted[0].startswith(f"firing RelumineDying fc2 digits/baseline: fc2 is dying {RUN_URL}")
    assert posted[1].startswith("firing RelumineDead fc3 digits/baseline: fc3 is dead")
    assert posted[2].startswith("resolved RelumineDying fc2")
    assert posted[3].startswith("firing RelumineTest")


def test_a_receiver_of_alertmanagers_webhooks_accepts_every_event(relay):
    url, _ = relay
    assert [post(url, sample).response_status for sample in CASES.values()] == [200] * len(CASES)
    assert CLIENT.post(url, {}, '{"alerts": 1}').response_status == 422  # it does parse them
