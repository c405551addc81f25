"""``relumine-server courier``: sending in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest
from live_server import listening

from relumine_server.storage import migrate
from relumine_server.storage.store import Store

COMMAND = [sys.executable, "-m", "relumine_server", "courier"]
DEADLINE_S = 60


@contextmanager
def running(url):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": url, "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true"}
    with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_couriers_beside_a_server_that_does_not_send_deliver_everything_once(new_database, receiver, monkeypatch):
    monkeypatch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
    monkeypatch.setenv("RELUMINE_COURIER", "false")
    database, arrived, sent = new_database("postgresql"), threading.Event(), []
    receiver.on_post = lambda: len(sent) == 30 and set(receiver.ids) >= set(sent) and arrived.set()
    with listening(database) as url:
        hooks = [httpx.post(f"{url}/v1/webhooks", json={"url": receiver.url}).json() for _ in range(3)]
        tests = [httpx.post(f"{url}/v1/webhooks/{hook['webhook_id']}/test").json() for hook in hooks * 10]
        sent.extend(test["delivery_id"] for test in tests)
        assert receiver.got == []
        with running(database) as one, running(database) as two:
            for process in (one, two):
                assert "courier" in process.stderr.readline()
            assert arrived.wait(DEADLINE_S)
            for process in (one, two):
                process.send_signal(signal.SIGTERM)
                assert process.wait(DEADLINE_S) == 0
    assert sorted(receiver.ids) == sorted(sent)


def test_a_file_that_is_served_is_refused_in_one_sentence(new_database):
    database = new_database("sqlite")
    store = Store.open(database)
    with running(database) as courier:
        assert courier.wait(DEADLINE_S) == 2
        assert "already served by another process" in courier.stderr.read()
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_another_version_is_refused_in_one_sentence(kind, new_database):
    database = new_database(kind)
    store = Store.open(database)
    migrate.downgrade(store.writing_engine, "0004")
    store.close()
    with running(database) as courier:
        assert courier.wait(DEADLINE_S) == 2
        assert "relumine-server migrate" in courier.stderr.read()
