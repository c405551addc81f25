"""Real consumers take what the ``alertmanager`` format sends: Prometheus Alertmanager, and a receiver of its webhooks.

Both are Debian's packages (``make receivers`` installs them): Alertmanager with its ``amtool`` for the list, and
``alertmanager-irc-relay``, which decodes webhooks of version 4 and says each alert on IRC, for the object.
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
from news import CASES, RUN_URL, alert, many, of, resolved

from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.payload import body
from relumine_server.webhooks.sender import Sender

NOW = datetime.now(UTC)
AGO = (NOW - timedelta(minutes=2)).isoformat()


def program(*names):
    places = os.pathsep.join([os.environ["PATH"], f"{sys.prefix}/receivers/usr/bin"])
    found = next(filter(None, (shutil.which(name, path=places) for name in names)), None)
    assert found, f"{names[0]} is not installed: make receivers"
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, port, folder):
    """A process that listens; it is waited for, and ended."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)  # between two looks at a starting process
        yield
    finally:
        process.kill()  # the relay takes its time to say goodbye on IRC
        process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def post(url, news):
    """Send as the courier does; the outcome."""
    return Sender(Allowed(loopback=True), timeout_s=15).post(url, {}, body("alertmanager", news, url=url))


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    """The address of a real Alertmanager."""
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "a.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    listen = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    command = [program("prometheus-alertmanager", "alertmanager"), "--config.file=a.yml", "--storage.path=data"]
    with running([*command, *listen], port, folder):
        yield f"http://127.0.0.1:{port}"


def amtool(address, *matchers):
    command = [program("amtool"), f"--alertmanager.url={address}", "alert", "query", "-o", "json", *matchers]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_an_alertmanager_takes_an_alert_holds_it_and_lets_it_go(alertmanager):
    api = f"{alertmanager}/api/v2/alerts"
    for one in (alert(opened_at=AGO, severity="warning"), alert(opened_at=AGO)):
        assert post(api, of("alert.firing", one)._replace(at=NOW)).status == 200
    warning, critical = sorted(amtool(alertmanager, "layer=fc2"), key=lambda a: a["labels"]["severity"], reverse=True)
    assert (warning["labels"]["severity"], critical["labels"]["severity"]) == ("warning", "critical")
    assert critical["labels"]["alertname"] == "RelumineDying"
    assert critical["generatorURL"].startswith(RUN_URL)
    assert "Do: lr ≤ 0.05" in critical["annotations"]["description"]
    assert datetime.fromisoformat(critical["endsAt"]) > NOW + timedelta(days=6)
    over = resolved(opened_at=AGO).model_copy(update={"resolved_at": NOW.isoformat()})
    assert post(api, of("alert.resolved", over)._replace(at=NOW)).status == 200
    assert amtool(alertmanager, "layer=fc2") == []


def test_an_alertmanager_hears_of_every_layer(alertmanager):
    alerts = many(500, opened_at=AGO, kind="dead")
    assert post(f"{alertmanager}/api/v2/alerts/", of("alert.firing", *alerts)._replace(at=NOW)).status == 200
    assert len(amtool(alertmanager, "kind=dead")) == 500


@pytest.mark.parametrize("case", CASES)
def test_an_alertmanager_takes_every_event(alertmanager, case):
    outcome = post(f"{alertmanager}/api/v2/alerts", CASES[case]._replace(at=NOW))
    assert (outcome.status, outcome.answer) == (200, "")


class _Channel(socketserver.StreamRequestHandler):
    """As much of an IRC server as the relay needs to come in and speak."""

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
                self.server.said.put(rest)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    """The address of a real receiver of Alertmanager's webhooks, and what it says on IRC."""
    irc = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Channel)
    irc.daemon_threads, irc.said = True, Queue()
    threading.Thread(target=irc.serve_forever, daemon=True).start()
    folder, port = tmp_path_factory.mktemp("relay"), free_port()
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
        yield f"http://127.0.0.1:{port}/runs", irc.said
    irc.shutdown()
    irc.server_close()


def test_a_receiver_of_alertmanagers_webhooks_understands_ours(relay):
    url, said = relay
    lost = [alert(), alert(layer="fc3", layer_id=3, kind="dead", severity="warning")]
    assert post(url, of("alert.firing", *lost)).status == 200
    assert post(url, of("alert.resolved", resolved())).status == 200
    assert post(url, CASES["a test"]).status == 200
    lines = [said.get(timeout=60).split(" :", 1)[1] for _ in range(4)]
    assert lines[0].startswith(f"firing RelumineDying fc2 digits/baseline: fc2 is dying {RUN_URL}")
    assert lines[1].startswith("firing RelumineDead fc3 digits/baseline: fc3 is dead")
    assert lines[2].startswith("resolved RelumineDying fc2")
    assert lines[3].startswith("firing RelumineTest")


def test_a_receiver_of_alertmanagers_webhooks_takes_every_event(relay):
    url, _ = relay
    assert [post(url, news).status for news in CASES.values()] == [200] * len(CASES)
    assert (
        Sender(Allowed(loopback=True), timeout_s=15).post(url, {}, '{"alerts": 1}').status == 422
    )  # it does read them
