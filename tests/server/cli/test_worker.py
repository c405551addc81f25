"""``relumine-server worker``: sending in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager

import httpx
import pytest

from relumine_server.db import migrations
from relumine_server.db.database import Database
from tests.helpers.forked_python import SERVERS
from tests.helpers.live_server import listening

COMMAND = ["-m", "relumine_server", "worker"]
DEADLINE_S = 60


@contextmanager
def running(url):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": url, "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true"}
    with SERVERS.start(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_workers_beside_a_server_without_a_dispatcher_deliver_everything_once(new_database, receiver, monkeypatch):
    monkeypatch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
    monkeypatch.setenv("RELUMINE_DISPATCHER", "false")
    database_url = new_database("postgresql")
    arrived = threading.Event()
    sent = []
    receiver.on_post = lambda: len(sent) == 30 and set(receiver.delivery_ids) >= set(sent) and arrived.set()
    with listening(database_url) as url, httpx.Client(base_url=url, timeout=60) as client:
        webhooks = [client.post("/v1/webhooks", json={"url": receiver.url}).json() for _ in range(3)]
        tests = [client.post(f"/v1/webhooks/{webhook['webhook_id']}/test").json() for webhook in webhooks * 10]
        sent.extend(test["delivery_id"] for test in tests)
        assert receiver.requests == []
        with running(database_url) as first, running(database_url) as second:
            for process in (first, second):
                assert "worker" in process.stderr.readline()
            assert arrived.wait(DEADLINE_S)
            for process in (first, second):
                process.send_signal(signal.SIGTERM)
                assert process.wait(DEADLINE_S) == 0
    assert sorted(receiver.delivery_ids) == sorted(sent)


def test_a_file_that_a_server_uses_is_refused_in_one_sentence(new_database):
    database_url = new_database("sqlite")
    database = Database.open(database_url)
    with running(database_url) as process:
        assert process.wait(DEADLINE_S) == 2
        assert "already served by another process" in process.stderr.read()
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_another_version_is_refused_in_one_sentence(kind, new_database):
    database_url = new_database(kind)
    database = Database.open(database_url)
    migrations.downgrade(database.writing_engine, "base")
    database.close()
    with running(database_url) as process:
        assert process.wait(DEADLINE_S) == 2
        assert "relumine-server migrate" in process.stderr.read()
