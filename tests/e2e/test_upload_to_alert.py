"""From the training to the webhook: a server process, a network that dies, and a receiver that verifies signatures."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch
from torch import nn

import relumine

DEADLINE_S = 60


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)  # a real process is waited for; nothing is asserted about time
    raise AssertionError("the condition did not come true")


@pytest.fixture
def receiver():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.requests.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a server that the installed command has started; both trainings of this module upload to it."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free_port:
        free_port.bind(("127.0.0.1", 0))
        port = free_port.getsockname()[1]
    command = [Path(sys.executable).with_name("relumine-server"), "serve", "--port", str(port)]
    environment = {**os.environ, "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true"}
    environment["RELUMINE_DATABASE_URL"] = f"sqlite:///{folder / 'relumine.db'}"
    process = subprocess.Popen(command, env=environment, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    until(lambda: httpx.get(f"{url}/readyz").is_success)
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def new_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def train(url, name, raised, model=None):
    """Train 120 steps at a safe learning rate, then 100 at ``raised``; return the monitor and the alerts received."""
    torch.set_num_threads(1)
    model = new_model() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    received = []
    with relumine.watch(
        model, optimizer, project="e2e", name=name, url=url, on_alert=received.append, strict=True
    ) as monitor:
        for step in range(220):
            if step == 120:
                optimizer.param_groups[0]["lr"] = raised
            x = torch.rand(64, 6)
            loss = nn.functional.cross_entropy(model(x), (x[:, 0] * 3).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log(loss=loss)
            if step % 20 == 0:
                monitor.flush()
    return monitor, received


def test_a_dying_layer_is_detected_explained_shown_and_notified(server, receiver):
    hook = {"url": f"http://127.0.0.1:{receiver.server_port}/hook", "group_wait_s": 0}
    secret = httpx.post(f"{server}/v1/webhooks", json=hook).raise_for_status().json()["secret"]
    healthy, _ = train(server, "healthy", 0.05)
    dying, received = train(server, "dying", 2.0)
    with relumine.Client(server) as client:
        assert list(client.alerts(run_id=healthy.run_id)) == []
        alerts = list(client.alerts(run_id=dying.run_id))
        assert {alert.kind for alert in alerts} >= {"dead"}
        assert {alert.cause for alert in alerts} == {"high_learning_rate"}
        dead = next(alert for alert in alerts if alert.kind == "dead")
        assert dead.layer == "1"
        assert dead.opened_step > 120
        assert dead.remedies[0].value == pytest.approx(0.05)
        assert client.run(dying.run_id).status == "finished"
        assert client.layers(dying.run_id)[0].state == "dead"
        assert client.overview(dying.run_id).traces[0].step[-1] <= 220
        assert len(client.units(dying.run_id, 1).columns["active"]) == 32
        rates = client.series(dying.run_id, 0, ["learning_rate"]).statistics["learning_rate"]
        assert (rates.min[0], rates.max[-1]) == (pytest.approx(0.05), pytest.approx(2.0))
    assert received
    notification_due = {alert.id for alert in alerts if alert.severity != "info"}

    def notifications():
        return [relumine.verify_webhook(headers, body, secret) for headers, body in list(receiver.requests)]

    def notified():
        return {alert["id"] for body in notifications() for alert in body["data"]["alerts"]}

    until(lambda: dead.id in notified())
    assert {body["type"] for body in notifications()} >= {"alert.firing"}
    assert notified() <= notification_due  # an alert that was resolved before its notification is not sent


def test_a_person_finds_the_layer_of_an_alert_and_its_code_brings_the_layer_back(server):
    model = new_model()
    monitor, _received = train(server, "dying", 2.0, model)
    with relumine.Client(server) as client:
        dead = next(alert for alert in client.alerts(run_id=monitor.run_id) if alert.kind == "dead")
    title = "layer 1 (ReLU after Linear 0) is dead"
    assert dead.title == title
    assert dead.message.startswith(f"{dead.severity.upper()} e2e/dying · {title}: ")
    assert "Likely cause: the learning rate rose from 0.05 to 2 at step 12" in dead.message
    assert "Fix: lower it to 0.05, its last healthy value" in dead.message
    assert len(dead.message) <= 320
    names = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=2.0),
        "inputs": torch.rand(256, 6),
    }
    assert not (model[0](names["inputs"]) > 0).any(0).all()
    for remedy in dead.remedies[:2]:
        exec(remedy.code, names)  # noqa: S102 - what the reader of the alert does
    assert [remedy.function for remedy in dead.remedies[:2]] == ["lower_learning_rate", "revive_"]
    assert names["optimizer"].param_groups[0]["lr"] == pytest.approx(0.05)
    assert (model[0](names["inputs"]) > 0).any(0).all()
