"""The receivers of ``examples/receivers`` accept our notifications, and nothing else.

Two of them use only the official libraries of Standard Webhooks, for Python and for JavaScript: our signatures are
valid for them.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.webhooks.formats import render_body
from relumine_server.webhooks.http_client import WebhookHttpClient
from relumine_server.webhooks.signing import signed_headers
from tests.helpers.notification_samples import CASES

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "receivers"
OLD, NEW, OTHER = ("whsec_" + base64.b64encode(bytes(range(n, n + 32))).decode() for n in range(3))
RECEIVERS = ("receiver.py", "receiver_without_relumine.py", "receiver.mjs")
CLIENT = WebhookHttpClient(TargetAllowlist(loopback=True), timeout_s=15)


def command(name, folder):
    if name.endswith(".py"):
        return [sys.executable, EXAMPLES / name]
    node = shutil.which("node")
    packages = Path(sys.prefix) / "node" / "node_modules"
    assert node, "node is not installed: make receivers"
    assert packages.is_dir(), "its packages are not installed: make receivers"
    shutil.copy(EXAMPLES / name, folder)
    (folder / "node_modules").symlink_to(packages)  # as after ``npm ci`` in the folder
    return [node, folder / name]


@contextmanager
def running(name, folder, secret=OLD):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("w") as log:
        environment = os.environ | {"WEBHOOK_SECRET": secret, "PORT": str(port)}
        process = subprocess.Popen(command(name, folder), env=environment, stdout=log, stderr=log)
    try:
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)  # between two checks of a starting process
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        process.kill()
        process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=RECEIVERS)
def receiver(request, tmp_path_factory):
    """The URL of a receiver, and the file of its output."""
    folder = tmp_path_factory.mktemp("receiver")
    with running(request.param, folder) as url:
        yield url, folder / "log"


def signed(text, secrets, timestamp=None, delivery_id="dlv_1"):
    timestamp = timestamp or datetime.now(UTC)
    return signed_headers(delivery_id=delivery_id, body=text, secrets=secrets, timestamp=timestamp)


@pytest.mark.parametrize("case", CASES)
def test_an_example_accepts_every_event(receiver, case):
    url, log = receiver
    text = render_body("standard", CASES[case])
    headers = signed(text, [OLD], delivery_id=f"dlv_{list(CASES).index(case) + 2}")
    assert CLIENT.post(url, headers, text).response_status == 204, log.read_text()
    assert f"{CASES[case].event} {{" in log.read_text()


@pytest.mark.parametrize("secrets", [[OLD, NEW], [NEW, OLD]])
def test_the_old_secret_is_valid_while_it_is_rotated(receiver, secrets):
    text = render_body("standard", CASES["a test"])
    assert CLIENT.post(receiver[0], signed(text, secrets), text).response_status == 204


def test_an_example_rejects_everything_else(receiver):
    url, _ = receiver
    text = render_body("standard", CASES["firing, critical"])
    now = datetime.now(UTC)
    requests = {
        "another secret": (signed(text, [OTHER]), text),
        "another body": (signed(text, [OLD]), text + " "),
        "another id": (signed(text, [OLD]) | {"webhook-id": "dlv_2"}, text),
        "too old": (signed(text, [OLD], now - timedelta(minutes=6)), text),
        "too new": (signed(text, [OLD], now + timedelta(minutes=6)), text),
        "no headers": ({}, text),
        "invalid headers": ({"webhook-id": "x", "webhook-timestamp": "x", "webhook-signature": "x"}, text),
    }
    statuses = {fault: CLIENT.post(url, *request).response_status for fault, request in requests.items()}
    assert statuses == dict.fromkeys(requests, 401)


def test_an_example_acts_once_on_a_duplicate_and_accepts_two_secrets(tmp_path):
    text = render_body("standard", CASES["a test"])
    with running("receiver.py", tmp_path, f"{OLD},{NEW}") as url:
        for secret in (OLD, NEW):
            assert CLIENT.post(url, signed(text, [secret]), text).response_status == 204
    assert (tmp_path / "log").read_text().count("webhook.test {") == 1
