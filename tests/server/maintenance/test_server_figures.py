"""``GET /v1/server``: figures of the server for its administrators, and for no one else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relumine import __version__
from relumine_server.app import create_app
from relumine_server.db import migrations
from relumine_server.settings import Settings
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller
from tests.helpers.two_project_server import upload

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def hours(database):
    """An application, its caller, and a clock in a list."""
    clock = [NOW]
    app = create_app(Settings(database_url=address_of(database)), database=database, clock=lambda: clock[0])
    return app, caller(app), clock


def test_an_empty_server_has_a_version_a_schema_and_a_size(hours, database):
    app, call, _clock = hours
    figures = call("GET", "/v1/server").json()
    assert figures["version"] == __version__
    kind = database.engine.dialect.name
    assert (figures["database"]["kind"], figures["database"]["schema_revision"]) == (kind, migrations.head())
    assert figures["database"]["size_bytes"] > 10_000
    assert (figures["database"]["free_bytes"] is None) == (kind == "postgresql")
    assert figures["last_maintenance_at"] is None
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float) and name != "uptime_s"}
    assert set(numbers.values()) == {0}
    app.state.services.maintenance.run_once()
    assert call("GET", "/v1/server").json()["last_maintenance_at"] == "2026-06-01T00:00:00Z"


def test_it_counts_what_is_stored_what_arrived_within_the_hour_and_what_is_left_to_do(hours):
    app, call, clock = hours
    call("POST", "/v1/webhooks", json={"url": "https://example.org/hook", "min_severity": "info"})
    call("POST", "/v1/uploads", json=upload("p", "old"))
    clock[0] += timedelta(hours=2)
    call("POST", "/v1/uploads", json=upload("p", "old", 2) | {"final_status": "finished"})
    call("POST", "/v1/uploads", json=upload("p", "new"))
    figures = call("GET", "/v1/server").json()
    assert (figures["runs"], figures["running"], figures["sampled_steps"]) == (2, 1, 15)
    assert (figures["uploads_last_hour"], figures["records_last_hour"]) == (2, 10)
    assert (figures["runs_to_compact"], figures["runs_to_delete"]) == (1, 0)
    assert figures["deliveries_waiting"] >= 2
    clock[0] += timedelta(minutes=10)
    later = call("GET", "/v1/server").json()
    assert later["deliveries_due"] == later["deliveries_waiting"]
    assert later["oldest_delivery_due_s"] >= 600
    app.state.services.maintenance.run_once()
    assert call("GET", "/v1/server").json()["runs_to_compact"] == 0


def test_only_an_admin_key_of_all_projects_reads_them(server):
    assert server.call("GET", "/v1/server", "admin").status_code == 200
    assert server.call("GET", "/v1/server").json()["code"] == "key_missing"
    for key, code in (
        ("read", "insufficient_scope"),
        ("write", "insufficient_scope"),
        ("ours admin", "project_forbidden"),
    ):
        assert server.call("GET", "/v1/server", key).json()["code"] == code
