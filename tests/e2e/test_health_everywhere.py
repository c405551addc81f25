"""Twelve trainings, and the word for the health of each wherever a person or a program reads it.

``python -m pytest tests/e2e/test_health_everywhere.py -s`` prints the table.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from typing import NamedTuple

import pytest
import torch
from playwright.sync_api import sync_playwright
from torch import nn

import relumine
from relumine import cli
from relumine.schemas.webhook import FORMATS
from tests.helpers.distributed import environment
from tests.helpers.forked_python import TRAININGS
from tests.helpers.live_server import listening
from tests.helpers.webhook_receiver import webhook_receiver

EXPECTED = {
    "healthy": "healthy",
    "dying": "at risk",
    "dead": "damaged",
    "born dead": "damaged",
    "diverged": "diverged",
    "constant": "collapsed",
    "stalled": "unknown",
    "failed": "healthy",
    "unwatched": "unwatched",
    "offline": "damaged",
    "resumed": "damaged",
    "killed": "damaged",
}
BEFORE_SYNC = "unknown"
"""The health in the closing line of an offline run: nothing has analyzed it yet."""
SILENT = {"stalled", "killed"}
"""Trainings that never said that they ended: they have no closing line. A person closes them in the end."""
KILL_STEP = 100
KILLED = """
import os, signal, sys
from tests.e2e.test_health_everywhere import Training
Training().run("killed", sys.argv[1], 150, killed=20, before_close=lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


class Tables(NamedTuple):
    """The health of each run by where it is read."""

    closing_lines: dict[str, str]
    api: dict[str, str]
    command: dict[str, str]
    page: dict[str, str]
    webhooks: dict[str, dict[str, str]]


class Training:
    """A small network in training; at a step, biases of the first units are set so low that they die."""

    def __init__(self, bias=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
        if bias is not None:
            nn.init.constant_(self.model[0].bias, bias)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.run_id = None
        self.steps = 0

    def run(self, name, url, steps, *, killed=0, at=KILL_STEP, before_close=None, mode=None):
        """Train for some steps, as a session of one run."""
        options = {"url": url, "every": 1, "mode": mode, "project": "table", "run_id": self.run_id}
        options["start_step"] = self.steps or None
        with relumine.watch(self.model, self.optimizer, name=name, **options) as monitor:
            self.run_id = monitor.run_id
            for _ in range(steps):
                if self.steps == at:
                    with torch.no_grad():
                        self.model[0].bias[:killed] = -50.0
                if name == "diverged" and self.steps == at:
                    self.optimizer.param_groups[0]["lr"] = 1e30
                if name == "unwatched" and self.steps == at:
                    self.model.eval()
                self.step()
            monitor.flush(60)
            if before_close is not None:
                before_close()

    def step(self):
        x = torch.rand(64, 6)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(x), (x[:, 0] * 3).long()).backward()
        self.optimizer.step()
        self.steps += 1


def fail():
    raise RuntimeError("the training broke")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("relumine")
    options = {"database_url": f"sqlite:///{folder / 'x.db'}", "webhook_allow_loopback": True}
    impatient = {"stall_timeout_s": 0.5, "pending_for_s": 0, "evaluation_interval_s": 0.1}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("RELUMINE_DIR", str(folder / "spool"))
        receivers = {webhook_format: stack.enter_context(webhook_receiver()) for webhook_format in FORMATS}
        with listening(**options) as url:
            logger.addHandler(handler)
            add_webhooks(url, receivers)
            run_all(url, folder / "spool")
            logger.removeHandler(handler)
        # A server that counts runs as stalled after half a second would do so with trainings that are merely slow.
        with listening(**options, **impatient) as url:
            close_silent_runs(url)
            wait_for_ends(receivers)
            yield Tables(
                closing_lines(lines), from_api(url), from_command(url), from_page(url), from_webhooks(receivers)
            )


def add_webhooks(url, receivers):
    with relumine.Client(url) as client:
        for webhook_format, receiver in receivers.items():
            client.create_webhook(receiver.url, format=webhook_format, events=["run.finished"], group_wait_s=0)


def run_all(url, spool):
    Training().run("healthy", url, 150)
    Training().run("dying", url, KILL_STEP + 8, killed=20)
    Training().run("dead", url, 150, killed=20)
    Training(bias=-50.0).run("born dead", url, 60)
    Training().run("diverged", url, 150)
    Training().run("constant", url, 200, killed=32)
    with pytest.raises(RuntimeError):
        Training().run("failed", url, 150, before_close=fail)
    Training().run("unwatched", url, 400)
    Training().run("offline", url, 150, killed=20, mode="offline")
    assert cli.main(["sync", str(spool), "--url", url]) == 0
    resumed = Training()
    resumed.run("resumed", url, 150, killed=20)
    resumed.run("resumed", url, 50)
    killed = TRAININGS.run(["-c", KILLED, url], env=environment())
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    stalled = {"run": {"id": "stalled", "project": "table", "name": "stalled"}, "session": "s", "seq": 1}
    layers = [{"layer_id": 1, "name": "act1", "units": 4}]
    records = [{"layer_id": 1, "first_step": n, "step": n, "n_examples": 99, "active": [50] * 4} for n in range(40)]
    with relumine.Client(url) as client:
        client.upload(json.dumps({**stalled, "layers": layers, "records": records}).encode())


def close_silent_runs(url):
    """Wait until the runs that stopped reporting count as stalled; check their health, and close them."""
    deadline = time.monotonic() + 120
    with relumine.Client(url) as client:
        while time.monotonic() < deadline:
            stalled = {run.name: run for run in client.runs(status="stalled")}
            if stalled.keys() >= SILENT:
                break
            time.sleep(0.1)  # the server evaluates its clock in another thread
        assert {name: run.health for name, run in stalled.items()} == {name: EXPECTED[name] for name in SILENT}
        for run in stalled.values():
            client.change_run(run.run_id, status="failed")


def wait_for_ends(receivers):
    """Wait until every receiver has a notification of every end: twelve runs, of which one ended twice."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(len(receiver.requests) < 13 for receiver in receivers.values()):
        time.sleep(0.1)  # notifications are sent by another thread


def closing_lines(lines):
    table = {}
    for line in lines:
        word, separator, rest = line.partition(": table/")
        if separator:
            table[rest.partition(" f")[0]] = word
    return table


def from_api(url):
    with relumine.Client(url) as client:
        return {run.name: run.health.replace("_", " ") for run in client.runs()}


def from_command(url):
    output = TRAININGS.run(["-m", "relumine", "runs", "--url", url]).stdout
    return {name: health_in(line) for line in output.splitlines() for name in EXPECTED if f"table/{name} " in line}


def from_page(url):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.locator("tbody tr").first.wait_for()
        rows = [row.inner_text().replace("\n", " ") for row in page.locator("tbody tr").all()]
        browser.close()
    return {name: health_in(row) for row in rows for name in EXPECTED if f"\t{name}\t" in row}


def from_webhooks(receivers):
    """Return the health in the last notification about the end of each run, by format."""
    tables = {webhook_format: {} for webhook_format in receivers}
    for webhook_format, receiver in receivers.items():
        for _headers, body in receiver.requests:
            text = body.decode()
            names = [name for name in EXPECTED if f"table/{name} f" in text or f'"name":"{name}"' in text]
            for name in names:
                subject = '"health":' if webhook_format == "standard" else f"table/{name} f"
                tables[webhook_format][name] = health_in(text.partition(subject)[2])
    return tables


def health_in(text):
    """Return the first word for a health in a text."""
    words = ["at risk", "at_risk", "damaged", "collapsed", "diverged", "unwatched", "unknown", "healthy"]
    found = [(text.index(word), word) for word in words if word in text]
    return min(found)[1].replace("_", " ") if found else "-"


def test_the_word_for_the_health_is_the_same_everywhere(tables):
    write_table(tables)
    ended = {name: word for name, word in EXPECTED.items() if name not in SILENT}
    assert tables.closing_lines == ended | {"offline": BEFORE_SYNC}
    assert tables.api == EXPECTED
    assert tables.command == EXPECTED
    assert tables.page == EXPECTED
    assert tables.webhooks == dict.fromkeys(FORMATS, EXPECTED)


def write_table(tables):
    columns = {"closing line": tables.closing_lines, "API": tables.api, "relumine runs": tables.command}
    columns |= {"page": tables.page} | tables.webhooks
    rows = [[name, *(column.get(name, "-") for column in columns.values())] for name in EXPECTED]
    for row in [["run", *columns], *rows]:
        sys.stdout.write("  ".join(f"{word:13}" for word in row) + "\n")
