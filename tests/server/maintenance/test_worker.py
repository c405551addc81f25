"""The maintenance worker does all of its tasks, whatever fails in one of them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.runs import retention
from relumine_server.settings import Settings
from relumine_server.timeseries import compaction
from tests.helpers.live_server import caller

STEPS = 100


def send_run(call, run, *, project="p", step_count=STEPS):
    """Send a run of two uploads that has finished, long enough to be compacted and thinned."""
    for seq, steps in ((1, range(step_count - 1)), (2, range(step_count - 1, step_count))):
        step_records = [{"layer_id": 1, "n_examples": 10, "active": [5, 5], "step": step} for step in steps]
        body = {
            "run": {"id": run, "project": project},
            "session": "s1",
            "seq": seq,
            "layers": [{"layer_id": 1, "name": "act1", "units": 2}],
            "records": [record | {"first_step": record["step"]} for record in step_records],
            "final_status": "finished" if seq == 2 else None,
        }
        assert call("POST", "/v1/uploads", json=body).status_code == 202


@pytest.fixture
def app(outbox):
    return create_app(Settings(delivery_retention_days=30), database=outbox.database, clock=outbox.clock)


@pytest.fixture
def call(app):
    return caller(app)


def set_retention(database, project, **values):
    settings = retention.Retention(**values)
    database.write(lambda connection: retention.save(connection, project, settings))


@pytest.fixture
def fails_to_compact(monkeypatch):
    """Compaction has a defect that shows in the run "damaged" only."""
    compact = compaction.compact

    def compact_unless_damaged(connection, run_id):
        return compact(connection, run_id) if run_id != "damaged" else 1 // 0

    monkeypatch.setattr(compaction, "compact", compact_unless_damaged)


def uncompacted_records(database, run_id):
    with database.read() as connection:
        query = sa.select(tables.runs.c.uncompacted_records).where(tables.runs.c.run_id == run_id)
        return connection.scalar(query)


def count_unit_stats(database, run_id):
    query = sa.select(sa.func.count()).select_from(tables.unit_stats).where(tables.unit_stats.c.run_id == run_id)
    with database.read() as connection:
        return connection.scalar(query)


def test_a_run_that_fails_to_compact_stops_neither_other_runs_nor_other_tasks(app, call, outbox, fails_to_compact):
    database = outbox.database
    send_run(call, "damaged", step_count=STEPS + 1)  # the longest is compacted first
    send_run(call, "healthy")
    send_run(call, "large", project="thin")
    send_run(call, "old", project="short")
    set_retention(database, "thin", unit_stats_bytes_per_run=0, unit_stats_keep_every=10)
    set_retention(database, "short", run_retention_days=1)
    webhook = outbox.add_webhook("https://hooks.example")
    trimmed = outbox.enqueue_test(webhook)
    set_delivery_failed(database)
    outbox.clock.advance(days=40)
    orphaned = outbox.enqueue_test(webhook)
    disable_webhooks(database)
    for failures in (1, 2):
        app.state.services.maintenance.run_once()
        line = f'relumine_maintenance_failures_total{{task="compact"}} {failures}.0'
        assert line in call("GET", "/metrics").text.splitlines()
    assert uncompacted_records(database, "damaged") == STEPS + 1
    assert uncompacted_records(database, "healthy") == 0
    assert count_unit_stats(database, "large") < STEPS
    assert call("GET", "/v1/runs/old").status_code == 404
    assert outbox.delivery_state(orphaned) == "cancelled"
    assert trimmed not in {delivery.delivery_id for delivery in outbox.deliveries()}


def set_delivery_failed(database):
    database.write(lambda connection: connection.execute(sa.update(tables.deliveries).values(state="failed")))


def disable_webhooks(database):
    database.write(lambda connection: connection.execute(sa.update(tables.webhooks).values(enabled=False)))


@pytest.mark.parametrize("task", ["_compact", "_thin", "_expire", "_cancel_orphaned_deliveries", "_trim_delivery_log"])
def test_a_task_that_fails_stops_no_other_task(app, monkeypatch, task):
    maintenance = app.state.services.maintenance
    completed = []
    for name in ("_compact", "_thin", "_expire", "_cancel_orphaned_deliveries", "_trim_delivery_log"):
        monkeypatch.setattr(maintenance, name, lambda name=name: 1 / 0 if name == task else completed.append(name))
    maintenance.run_once()
    assert len(completed) == 4
    assert task not in completed
