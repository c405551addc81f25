"""One damaged row of any table stops neither the background work for others nor the reads of its run."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.ingest import analysis
from relumine_server.settings import Settings
from relumine_server.timeseries import compaction, damage
from tests.helpers.live_server import caller

WHOLE = "whole"
UPLOAD_STEPS = 10
SAVE_EVERY = 2
UPLOADS = 4  # more than are folded again from a saved state

DAMAGES = {
    "segment": tables.segments.c.data,
    "readings": tables.segments.c.readings,
    "learning-rates": tables.segments.c.learning_rates,
    "unit-statistics": tables.unit_stats.c.columns,
    "layers-of-unit-statistics": tables.unit_stats.c.layers,
    "state": tables.detector_states.c.state,
    "config": tables.runs.c.config,
    "tags": tables.runs.c.tags,
    "dropped": tables.runs.c.dropped,
    "coverage": tables.runs.c.coverage,
    "watching": tables.runs.c.watching,
    "layer": tables.layers.c.info,
    "metrics": tables.logged_metrics.c["items"],
}
"""Columns to damage, each in a run that is named after the damage."""
ALERT_DAMAGES = {name: tables.alerts.c[name] for name in ("evidence", "remedies", "forecast", "upstream")}
OF_ALL = [tables.projects.c.policy, tables.projects.c.retention]
READS = [
    "",
    "/overview",
    "/layers",
    "/metrics",
    "/export",
    "/layers/1/series?statistics=active_rate",
    "/layers/1/units",
]


def upload(run, seq, **fields):
    steps = range(seq * UPLOAD_STEPS, (seq + 1) * UPLOAD_STEPS)
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 9, "active": [9, 5], "learning_rates": [1, 2]}
        for step in steps
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    body = {"run": {"id": run}, "session": "s1", "seq": seq + 1, "records": records, "layers": layers}
    return body | {"metrics": [{"step": steps[0], "name": "loss", "value": 1.0}]} | fields


class Server:
    """The application on ``outbox``, with a webhook and some runs."""

    def __init__(self, outbox, receiver):
        self.outbox = outbox
        self.database = outbox.database
        settings = Settings(run_retention_days=30, stall_timeout_s=600, pending_for_s=0, webhook_allow_loopback=True)
        self.app = create_app(settings, database=self.database, clock=outbox.clock)
        self.services = self.app.state.services
        self.call = caller(self.app)
        outbox.add_webhook(receiver.url)

    def fill(self, runs, uploads=UPLOADS):
        for run in runs:
            for seq in range(uploads):
                self.upload(run, seq)

    def upload(self, run, seq, **fields):
        response = self.call("POST", "/v1/uploads", json=upload(run, seq, **fields))
        assert response.status_code == 202, (run, response.text)

    def damage(self, column, run=None, where=None):
        """Damage a column of all rows, or of those of a run, as far as the database lets one."""
        value = sa.literal(b"\x01")
        if not isinstance(column.type, sa.LargeBinary):  # JSONB is always JSON, but may be anything
            is_postgres = self.database.engine.dialect.name == "postgresql"
            value = sa.cast(sa.text("'\"torn\"'"), postgresql.JSONB) if is_postgres else sa.text("'{\"torn'")
        conditions = [] if run is None else [column.table.c.run_id == run]
        conditions += [] if where is None else [where]
        statement = sa.update(column.table).where(*conditions).values({column: value})
        assert self.database.write(lambda connection: connection.execute(statement).rowcount)

    def work(self):
        """Do one round of every background worker."""
        self.services.maintenance.run_once()
        self.services.evaluator.run_once()
        self.outbox.dispatcher.run_once()

    def require_reads(self, runs):
        paths = [f"/v1/runs/{run}{path}" for run in runs for path in READS]
        for path in [*paths, "/v1/runs", "/v1/alerts", "/v1/webhooks", "/v1/projects", "/metrics"]:
            response = self.call("GET", path)
            assert response.status_code == 200 or response.json()["code"] == "units_not_found", (path, response.text)

    def statuses(self, runs):
        return {self.call("GET", f"/v1/runs/{run}").json()["status"] for run in runs}

    def shown_steps(self, run):
        rows = self.call("GET", f"/v1/runs/{run}/export").text.splitlines()
        return {int(row.split(",")[2]) for row in rows if ",active_rate," in row}


@pytest.fixture
def server(outbox, receiver, monkeypatch):
    monkeypatch.setattr(analysis, "SAVE_EVERY", SAVE_EVERY)
    damage._logged.clear()  # as in a process that has just started
    return Server(outbox, receiver)


def test_a_damaged_row_of_any_table_stops_nothing(server):
    runs = [WHOLE, *DAMAGES]
    server.fill(runs)
    for run, column in DAMAGES.items():
        server.damage(column, run)
    for column in OF_ALL:
        server.damage(column)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            server.require_reads(runs)
            server.work()
        server.services.ingest._analyzer.states._entries.clear()  # as after a restart
        for run in runs:
            server.upload(run, UPLOADS)
    rows = [str(sorted(log.items())) for log in logs if "cannot be read" in log["event"]]
    assert rows
    assert len(rows) == len(set(rows))  # once each
    assert not [log for log in logs if log["event"] == "task_failed"]
    server.outbox.clock.advance(minutes=11)
    server.work()
    server.work()
    assert server.statuses(runs) == {"stalled"}
    for run in runs:
        server.upload(run, UPLOADS + 1, final_status="finished")
    server.work()
    server.require_reads(runs)
    assert server.call("DELETE", "/v1/runs/segment").status_code == 204
    server.outbox.clock.now += timedelta(days=31)
    server.work()
    assert server.outbox.count_rows(tables.runs) == 0


def test_a_damaged_alert_stops_nothing(server):
    runs = [WHOLE, *ALERT_DAMAGES]
    server.fill(runs, uploads=1)
    server.outbox.clock.advance(minutes=11)
    server.services.evaluator.run_once()  # all stall; the alerts are pending
    for run, column in ALERT_DAMAGES.items():
        server.damage(column, run)
    server.work()
    server.require_reads(runs)
    assert server.statuses(runs) == {"stalled"}
    for run in runs:
        server.upload(run, 1)
    assert server.statuses(runs) == {"running"}


def test_a_damaged_delivery_stops_no_other(server, receiver):
    runs = [WHOLE, "torn"]
    server.fill(runs, uploads=1)
    server.outbox.clock.advance(minutes=11)
    for _ in range(2):
        server.services.evaluator.run_once()
    server.damage(tables.deliveries.c.alert_refs, "torn")
    server.upload("torn", 1)
    server.outbox.send_due(minutes=1)
    assert WHOLE in {alert["run_id"] for body in receiver.bodies for alert in body["data"]["alerts"]}


def test_damaged_chunks_are_left_out_of_reads_and_of_a_rebuild(server):
    statistics = ["active_rate", "step", "seq", "first_step"]
    server.fill([WHOLE, *statistics], uploads=3)
    for run in [WHOLE, *statistics]:
        server.upload(run, 3, final_status="finished")
    server.services.maintenance.run_once()
    chunk = tables.chunks.c
    for statistic in statistics:
        name = "n_examples" if statistic == "active_rate" else statistic
        server.database.write(
            lambda connection, run=statistic, name=name: connection.execute(
                sa.update(tables.chunks).where(chunk.run_id == run, chunk.statistic == name).values(data=b"\x01")
            )
        )
    server.damage(tables.detector_states.c.state)
    server.services.ingest._analyzer.states._entries.clear()
    server.require_reads([WHOLE, *statistics])
    for run in [WHOLE, *statistics]:
        server.upload(run, 4)


def test_the_rest_of_a_run_is_shown_beside_a_segment_that_cannot_be_read(server):
    server.fill(["torn"], uploads=5)
    whole = server.shown_steps("torn")
    torn = tables.segments.c.seq == 4
    server.damage(tables.segments.c.data, "torn", torn)
    rest = whole - set(range(3 * UPLOAD_STEPS, 4 * UPLOAD_STEPS))
    assert server.shown_steps("torn") == rest
    server.upload("torn", 5, final_status="finished", records=[])
    server.services.maintenance.run_once()
    assert server.shown_steps("torn") == rest
    with server.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.segments).where(torn)) == 1
        assert compaction.due(connection, 100) == []
