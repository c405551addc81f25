"""The receivers of ``examples/receivers`` take what we send, and nothing else.

Two of them know only the official libraries of Standard Webhooks, for Python and for JavaScript: our signatures are
theirs.
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
from news import CASES

from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.payload import body
from relumine_server.webhooks.sender import Sender
from relumine_server.webhooks.signing import signed_headers

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "receivers"
OLD, NEW, OTHER = ("whsec_" + base64.b64encode(bytes(range(n, n + 32))).decode() for n in range(3))
RECEIVERS = ("receiver.py", "receiver_without_relumine.py", "receiver.mjs")
SENDER = Sender(Allowed(loopback=True), timeout_s=15)


def command(name, folder):
    if name.endswith(".py"):
        return [sys.executable, EXAMPLES / name]
    node, packages = shutil.which("node"), Path(sys.prefix) / "node" / "node_modules"
    assert node, "node is not installed: make receivers"
    assert packages.is_dir(), "its packages are not installed: make receivers"
    shutil.copy(EXAMPLES / name, folder)
    (folder / "node_modules").symlink_to(packages)  # as if ``npm ci`` had been said beside it
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
            time.sleep(0.1)  # between two looks at a starting process
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        process.kill()
        process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=RECEIVERS)
def receiver(request, tmp_path_factory):
    """The address of a receiver, and what it printed."""
    folder = tmp_path_factory.mktemp("receiver")
    with running(request.param, folder) as url:
        yield url, folder / "log"


def signed(text, secrets, at=None, delivery_id="dlv_1"):
    moment = at or datetime.now(UTC)
    return signed_headers(delivery_id=delivery_id, body=text, secrets=secrets, at=moment)


@pytest.mark.parametrize("case", CASES)
def test_an_example_takes_every_event(receiver, case):
    url, log = receiver
    text = body("standard", CASES[case])
    headers = signed(text, [OLD], delivery_id=f"dlv_{list(CASES).index(case) + 2}")
    assert SENDER.post(url, headers, text).status == 204, log.read_text()
    assert f"{CASES[case].event} {{" in log.read_text()


@pytest.mark.parametrize("secrets", [[OLD, NEW], [NEW, OLD]])
def test_while_a_secret_is_exchanged_the_old_one_holds(receiver, secrets):
    text = body("standard", CASES["a test"])
    assert SENDER.post(receiver[0], signed(text, secrets), text).status == 204


def test_an_example_refuses_everything_else(receiver):
    url, _ = receiver
    text, now = body("standard", CASES["firing, critical"]), datetime.now(UTC)
    wrong = {
        "another secret": (signed(text, [OTHER]), text),
        "another body": (signed(text, [OLD]), text + " "),
        "another id": (signed(text, [OLD]) | {"webhook-id": "dlv_2"}, text),
        "too old": (signed(text, [OLD], now - timedelta(minutes=6)), text),
        "too new": (signed(text, [OLD], now + timedelta(minutes=6)), text),
        "no headers": ({}, text),
        "headers of nonsense": ({"webhook-id": "x", "webhook-timestamp": "x", "webhook-signature": "x"}, text),
    }
    assert {why: SENDER.post(url, *sent).status for why, sent in wrong.items()} == dict.fromkeys(wrong, 401)


def test_an_example_acts_once_on_what_comes_twice_and_knows_two_secrets(tmp_path):
    text = body("standard", CASES["a test"])
    with running("receiver.py", tmp_path, f"{OLD},{NEW}") as url:
        assert [SENDER.post(url, signed(text, [secret]), text).status for secret in (OLD, NEW)] == [204, 204]
    assert (tmp_path / "log").read_text().count("webhook.test {") == 1
