"""A deletion that was cut off is finished, and a run of which a part is gone is never shown or written to."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.db.types import metadata
from relumine_server.runs import repository as run_repository
from relumine_server.runs import retention
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

RUN = "r1"
BATCHES = 3


class KilledError(Exception):
    """Ends a deletion, in place of the end of its process."""


def upload(seq, **fields):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [8, 0]}
        for step in range(seq * 40, seq * 40 + 40)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    metrics = [{"step": seq, "name": "loss", "value": 1.0}]
    body = {"run": {"id": RUN}, "session": "s1", "seq": seq, "records": records, "layers": layers, "metrics": metrics}
    return body | fields


@pytest.fixture
def start(outbox):
    """A function that starts a server on the same database."""

    def start():
        settings = Settings(run_retention_days=7)
        return create_app(settings, database=outbox.database, clock=outbox.clock)

    return start


@pytest.fixture
def kill_after(monkeypatch):
    """A function after which the process ends with its n-th batch of a deletion; it returns one that ends this."""

    def kill_after(count):
        batches = iter(range(count))
        delete_batch = retention.delete_batch

        def delete_some(connection, run_id):
            if next(batches, None) is None:
                raise KilledError
            return delete_batch(connection, run_id)

        monkeypatch.setattr(run_repository, "CHILDREN", dict.fromkeys(run_repository.CHILDREN, 7))
        monkeypatch.setattr(retention, "delete_batch", delete_some)
        return lambda: monkeypatch.setattr(retention, "delete_batch", delete_batch)

    return kill_after


def delete_by_request(app):
    assert caller(app)("DELETE", f"/v1/runs/{RUN}").status_code == 500


def expire(app):
    call = caller(app)
    assert call("POST", "/v1/uploads", json=upload(6, final_status="finished", records=[])).status_code == 202
    app.state.services.clock.advance(days=8)
    app.state.services.maintenance.run_once()


READS = ["", "/overview", "/layers", "/metrics", "/export"]


@pytest.mark.parametrize("delete", [delete_by_request, expire])
def test_a_deletion_that_was_cut_off_is_hidden_and_finished_by_the_next_server(start, outbox, kill_after, delete):
    app = start()
    call = caller(app)
    for seq in range(1, 6):
        assert call("POST", "/v1/uploads", json=upload(seq)).status_code == 202
    assert call("GET", "/v1/alerts").json()["items"]
    stored_rows = outbox.count_rows(tables.unit_stats)
    revive = kill_after(BATCHES)
    delete(app)
    revive()
    app = start()
    call = caller(app)
    assert 0 < outbox.count_rows(tables.unit_stats) < stored_rows - BATCHES
    assert [call("GET", f"/v1/runs/{RUN}{path}").status_code for path in READS] == [404] * len(READS)
    assert call("DELETE", f"/v1/runs/{RUN}").status_code == 404
    assert call("GET", "/v1/runs").json()["items"] == call("GET", "/v1/alerts").json()["items"] == []
    assert [project["runs"] for project in call("GET", "/v1/projects").json()["items"]] == [0]
    outbox.clock.now += timedelta(minutes=20)
    app.state.services.evaluator.run_once()
    answer = call("POST", "/v1/uploads", json=upload(7))
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    assert answer.headers["retry-after"]
    app.state.services.maintenance.run_once()
    for table in metadata.sorted_tables:
        if "run_id" in table.c:
            assert outbox.count_rows(table) == 0, table.name
    assert call("POST", "/v1/uploads", json=upload(7)).status_code == 202
    assert call("GET", f"/v1/runs/{RUN}").json()["last_step"] == 319


def test_an_upload_in_flight_never_writes_to_a_run_that_is_being_deleted(start, outbox):
    call = caller(start())
    assert call("POST", "/v1/uploads", json=upload(1)).status_code == 202
    assert outbox.database.write(lambda connection: run_repository.mark_deleted(connection, RUN, outbox.clock()))
    rows = outbox.count_rows(tables.segments)
    assert call("POST", "/v1/uploads", json=upload(2)).status_code == 429
    assert call("POST", "/v1/uploads", json=upload(2) | {"rank": 1, "layers": []}).status_code == 429
    assert call("PATCH", f"/v1/runs/{RUN}", json={"name": "x"}).status_code == 404
    assert outbox.count_rows(tables.segments) == rows
    with outbox.database.read() as connection:
        assert connection.scalar(sa.select(tables.runs.c.name)) is None
