"""The application, a server with two projects, and an outbox: each on a database of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from relumine_server.app import create_app
from relumine_server.auth.api_keys import checksum
from relumine_server.db import tables
from relumine_server.settings import Settings
from relumine_server.webhooks.dispatcher import WebhookDispatcher
from tests.helpers import databases
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller
from tests.helpers.outbox_harness import Clock, OutboxHarness
from tests.helpers.two_project_server import TwoProjectServer, upload
from tests.helpers.webhook_receiver import webhook_receiver


@pytest.fixture
def app(database):
    """The application, on SQLite and on Postgres."""
    return create_app(Settings(database_url=address_of(database)), database=database)


@pytest.fixture
def call(app):
    """A function that sends a request to the application."""
    return caller(app)


@pytest.fixture
def server_without_keys(database):
    """A server without keys."""
    return TwoProjectServer(address_of(database), database=database)


class ServerContents(NamedTuple):
    """What a server holds: its time, its keys by name, ids of its resources, and the rows of every table."""

    now: datetime
    keys: dict[str, str]
    ids: dict[str, str]
    rows: dict[sa.Table, Sequence[sa.RowMapping]]


@pytest.fixture(scope="session")
def server_contents() -> dict[str, ServerContents]:
    """The contents of ``server`` by the kind of database: created over HTTP once, then copied."""
    return {}


@pytest.fixture
def server(server_without_keys, server_contents):
    """A server with keys of every kind and two projects, each with a run, alert, silence, webhook and delivery."""
    server = server_without_keys
    kind = server.database.engine.dialect.name
    if kind not in server_contents:
        _fill(server)
        server_contents[kind] = ServerContents(server.now, server.keys, server.ids, _read_rows(server.database))
        databases.empty(server.database)
    contents = server_contents[kind]
    server.database.write(lambda connection: _insert_rows(connection, contents.rows))
    state = {"now": contents.now, "keys": dict(contents.keys), "ids": dict(contents.ids)}
    return TwoProjectServer(server.database_url, database=server.database, **state)


def _read_rows(database):
    with database.read() as connection:
        return {table: connection.execute(sa.select(table)).mappings().all() for table in tables.metadata.sorted_tables}


def _insert_rows(connection, rows) -> None:
    for table, mappings in rows.items():
        if mappings:
            connection.execute(sa.insert(table), [dict(row) for row in mappings])


def _fill(server) -> None:
    server.create_key("admin", "admin")
    for scope in ("ingest", "read", "write"):
        server.create_key(scope, scope)
    for project in ("ours", "theirs"):
        for scope in ("ingest", "read", "write", "admin"):
            server.create_key(f"{project} {scope}", scope, project)
        _create_resources(server, project)
    _create_invalid_keys(server)


def _create_resources(server, project) -> None:
    response = server.call("POST", "/v1/uploads", "ingest", json=upload(project, f"run-{project}"))
    other = server.call("POST", "/v1/uploads", "ingest", json=upload(project, f"other-run-{project}"))
    hook = {"url": f"https://{project}.example/hook", "project": project}
    webhook_id = server.call("POST", "/v1/webhooks", "admin", json=hook).json()["webhook_id"]
    ends_at = (server.now + timedelta(days=1)).isoformat()
    silence = {"matchers": {"kind": "none"}, "ends_at": ends_at, "author": "Ada"}
    ids = {
        "run_id": f"run-{project}",
        "incident_id": other.json()["alerts"][0]["incident_id"],
        "alert_id": response.json()["alerts"][0]["id"],
        "webhook_id": webhook_id,
        "delivery_id": server.cancelled_delivery(f"/v1/webhooks/{webhook_id}"),
        "silence_id": server.call("POST", "/v1/silences", f"{project} admin", json=silence).json()["silence_id"],
        "key_id": server.ids[f"{project} read"],
        "project": project,
        "layer_id": "1",
    }
    server.ids |= {f"{project} {name}": value for name, value in ids.items()}


def _create_invalid_keys(server) -> None:
    """Create a key that is revoked and one that expires, let it expire, and make up two more."""
    server.create_key("revoked", "admin")
    assert server.call("DELETE", f"/v1/keys/{server.ids['revoked']}", "admin").status_code == 204
    server.create_key("expired", "admin", expires_at=(server.now + timedelta(hours=1)).isoformat())
    server.now += timedelta(hours=2)
    key = server.keys["admin"]
    swapped = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]
    assert checksum(swapped[:-6]) != swapped[-6:]
    server.keys["mistyped"] = swapped
    well_formed = key[:20] + "0" * (len(key) - 26)
    server.keys["unknown"] = well_formed + checksum(well_formed)


@pytest.fixture
def receiver():
    """A receiver of webhooks."""
    with webhook_receiver() as server:
        yield server


@pytest.fixture
def second_receiver():
    """Another receiver of webhooks."""
    with webhook_receiver() as server:
        yield server


@pytest.fixture
def outbox(database):
    """An outbox whose clock and dispatcher the test moves; retries have no jitter."""
    clock = Clock()
    settings = Settings(webhook_allow_loopback=True, webhook_timeout_s=2)
    return OutboxHarness(database, clock, WebhookDispatcher(database, settings, clock, jitter=lambda: 0.0))


@pytest.fixture
def outbox_app(outbox):
    """The application with the database, the clock and the dispatcher of ``outbox``."""
    application = create_app(Settings(webhook_allow_loopback=True), database=outbox.database, clock=outbox.clock)
    application.state.services.dispatcher = outbox.dispatcher
    return application


@pytest.fixture
def api(outbox_app):
    """A function that sends a request below ``/v1``, checks the status and returns the JSON of the response."""
    send = caller(outbox_app)

    def request(method, path, status=200, **body):
        response = send(method, f"/v1{path}", json=body or None)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    return request


@pytest.fixture
def created(api, receiver):
    """A webhook for ``receiver``, created over HTTP: the response, with its secret."""
    return api("POST", "/webhooks", 201, url=receiver.url, events=["alert.firing", "alert.resolved"])
