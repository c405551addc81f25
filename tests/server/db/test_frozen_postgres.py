"""A Postgres that does not answer is refused with 503, and used again as soon as it answers."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from relumine_server.db import postgres_watch
from tests.helpers import databases
from tests.helpers.frozen_postgres import frozen
from tests.helpers.live_server import listening

PATHS = ["/readyz", "/v1/runs", "/v1/runs/r1", "/v1/runs/r1/overview", "/v1/alerts"]


def body(run, seq):
    records = [{"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 8, "active": [1, 2]}]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


@pytest.fixture(scope="module")
def own_server():
    """A Postgres of its own: the shared one is used by other tests of this worker."""
    with databases.postgres_server() as server:
        url = databases.create_postgres_database(server)
        yield url


def send(client, request):
    method, path, content = request
    return client.request(method, path, json=content).status_code


def test_while_postgres_is_frozen_every_request_is_refused_and_it_recovers_by_itself(own_server):
    url = own_server.render_as_string(hide_password=False)
    databases.migrate(url)
    requests = [("GET", path, None) for path in PATHS]
    requests += [("POST", "/v1/uploads", body(f"r{number}", 2)) for number in range(1, 13)]
    with listening(url) as address, httpx.Client(base_url=address, timeout=60) as client:
        for number in range(1, 13):
            assert send(client, ("POST", "/v1/uploads", body(f"r{number}", 1))) == 202
        with frozen(own_server), ThreadPoolExecutor(len(requests)) as pool:
            for _ in range(2):  # those that find open connections, and those that come later
                assert set(pool.map(lambda request: send(client, request), requests)) == {503}
        for _ in range(200):
            if send(client, ("GET", "/readyz", None)) == 200:
                break
            threading.Event().wait(0.1)
        assert {send(client, request) for request in requests} == {200, 202}


@pytest.fixture
def many_files():
    """More open files than ``select`` can wait for, as a server with a thousand connections has."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(Path(os.devnull).open())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_frozen_postgres_is_noticed_by_a_server_with_a_thousand_open_files(own_server, many_files):
    url = own_server.render_as_string(hide_password=False)
    databases.migrate(url)
    with listening(url) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert send(client, ("GET", "/readyz", None)) == 200
        threading.Event().wait(2 * postgres_watch.PERIOD_S)  # the watch has asked at least once
        with frozen(own_server):
            assert send(client, ("GET", "/v1/runs", None)) == 503
        assert "relumine-postgres-watch" in [thread.name for thread in threading.enumerate()]


def test_a_statement_that_takes_long_is_no_outage(own_server):
    url = own_server.render_as_string(hide_password=False)
    databases.migrate(url)
    with listening(url) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert send(client, ("POST", "/v1/uploads", body("r1", 1))) == 202
        holder = sa.create_engine(url, poolclass=sa.NullPool).connect()
        holder.exec_driver_sql("SELECT * FROM runs FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            upload = pool.submit(send, client, ("POST", "/v1/uploads", body("r1", 2)))
            holder.exec_driver_sql("SELECT pg_sleep(3)")
            holder.rollback()
            holder.close()
            assert upload.result(60) == 202
