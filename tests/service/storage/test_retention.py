"""What is given up, what never is, and that it can stop anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from live_server import caller
from sqlalchemy import func, select

from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.app import create_app
from relumine_server.caretaker import Caretaker
from relumine_server.detection.policy import Policy
from relumine_server.ingest import SAVE_EVERY, Ingest
from relumine_server.settings import Settings
from relumine_server.storage import retention, states
from relumine_server.storage import tables as t
from relumine_server.storage.retention import Retention, Run

UNITS = 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="act1", units=UNITS)]


@pytest.fixture
def app(database_url):
    made = create_app(Settings(database_url=database_url, expire_days=None), clock=lambda: NOW)
    yield made
    made.state.store.close()


@pytest.fixture
def store(app):
    return app.state.store


def fill(store, uploads=30, *, run="r1", dies_at=None, closing=None, ingest=None):
    ingest = ingest or Ingest("")
    for seq in range(1, uploads + 1):
        records = []
        for step in range(10 * seq - 9, 10 * seq + 1):
            dead = dies_at is not None and step >= dies_at
            columns = {
                "active": [0 if dead else 30] * UNITS,
                "silent": [64 * (step - dies_at + 1) if dead else 0] * UNITS,
            }
            records.append(Record(layer_id=1, first_step=step, step=step, n_examples=64, n_positions=64, **columns))
        one = Upload(
            run=RunInfo(id=run), session="s1", seq=seq, layers=LAYERS if seq == 1 else [], records=records,
            closing=closing if seq == uploads else None,
        )  # fmt: skip
        store.write(lambda c, one=one: ingest.take(c, one, NOW))


def kept_steps(store, run="r1"):
    with store.read() as connection:
        return set(connection.scalars(select(t.unit_rows.c.step).where(t.unit_rows.c.run_id == run)))


def thin(store, every=10, unit_bytes=0):
    run = Run("r1", Retention(unit_bytes=unit_bytes, unit_rows_every=every))
    while store.write(lambda c: retention.thin(c, run)):
        pass


def test_of_what_is_old_every_nth_stays_and_all_of_what_is_new(store):
    fill(store)
    thin(store)
    kept = kept_steps(store)
    assert set(range(1, 11)) <= kept  # the baseline
    assert set(range(300 - retention.LATEST + 1, 301)) <= kept  # the latest
    middle = {step for step in kept if 10 < step <= 300 - retention.LATEST}
    assert middle == set()  # every 10th and every 100th were still too many for no bytes at all
    with store.read() as connection:
        size = connection.scalar(select(func.sum(t.unit_rows.c.size)))
        assert connection.scalar(select(t.runs.c.unit_bytes)) == size


def test_the_first_sieve_that_is_enough_is_the_last(store):
    fill(store)
    with store.read() as connection:
        whole = connection.scalar(select(t.runs.c.unit_bytes))
    thin(store, unit_bytes=whole // 2)
    middle = {step for step in kept_steps(store) if 10 < step <= 300 - retention.LATEST}
    assert middle == set(range(11, 300 - retention.LATEST + 1, 10))
    thin(store, unit_bytes=whole // 2)
    assert {step for step in kept_steps(store) if 10 < step <= 300 - retention.LATEST} == middle


def test_what_surrounds_an_alert_stays(store):
    fill(store, dies_at=120)
    with store.read() as connection:
        opened = set(connection.scalars(select(t.alerts.c.opened_step)))
    assert opened
    thin(store)
    for step in opened:
        assert set(range(step - 4, step + 6)) <= kept_steps(store)


def test_a_state_that_was_lost_is_folded_again_from_what_thinning_left(store):
    ingest = Ingest("")
    fill(store, uploads=SAVE_EVERY * 3 + 5, ingest=ingest, dies_at=200)
    thin(store)
    with store.read() as connection:
        run = connection.execute(select(t.runs)).one()
        known = ingest._states.get("r1", states.version_of(run))
        again = states.load(connection, "r1", Policy())
    assert known is not None
    assert (known.state.units == again.state.units).all()
    assert known.state.open == again.state.open
    assert again.unsaved > 0


def test_an_ended_run_expires_and_a_running_one_never_does(app, store):
    call = caller(app)
    fill(store, uploads=2, run="old", closing="finished")
    fill(store, uploads=2, run="running")
    body = {"unit_bytes": 2**20, "unit_rows_every": 5, "expire_days": 7}
    assert call("PUT", "/v1/projects/default/retention", json=body).json() == body
    assert call("GET", "/v1/projects/default/retention").json() == body
    for days, left in ((6, {"old", "running"}), (8, {"running"})):
        Caretaker(store, app.state.settings, lambda days=days: NOW + timedelta(days=days)).run_once()
        assert {run["run_id"] for run in call("GET", "/v1/runs").json()["items"]} == left
    with store.read() as connection:
        for table in (t.unit_rows, t.segments, t.uploads, t.layers, t.sessions, t.detector_states):
            assert set(connection.scalars(select(table.c.run_id))) == {"running"}


def test_odd_retentions_are_refused_and_unknown_projects_are_not_found(app):
    call = caller(app)
    assert call("GET", "/v1/projects/none/retention").json()["code"] == "project_not_found"
    good = {"unit_bytes": 2**20, "unit_rows_every": 5, "expire_days": None}
    assert call("PUT", "/v1/projects/none/retention", json=good).json()["code"] == "project_not_found"
    for odd in ({"unit_bytes": 1}, {"unit_rows_every": 1}, {"expire_days": 0}, {"more": 1}, {"unit_bytes": 1e300}):
        assert call("PUT", "/v1/projects/none/retention", json=good | odd).status_code == 422


def test_deletion_that_stopped_half_way_is_taken_up(store, app, monkeypatch):
    monkeypatch.setattr(retention.runs, "CHILDREN", dict.fromkeys(retention.runs.CHILDREN, 7))
    fill(store, uploads=5)
    for _ in range(3):
        assert store.write(lambda c: retention.delete_some(c, "r1"))
    assert caller(app)("DELETE", "/v1/runs/r1").status_code == 204
    with store.read() as connection:
        for table in t.metadata.sorted_tables:
            if table.name not in ("projects", "webhooks"):
                assert connection.scalar(select(func.count()).select_from(table)) == 0, table.name


def test_a_run_that_was_taken_up_again_is_not_expired(store):
    fill(store, uploads=2, closing="finished")
    keep, later = Retention(expire_days=7), NOW + timedelta(days=8)
    with store.read() as connection:
        assert retention.expired(connection, keep, later) == ["r1"]
    one = Upload(run=RunInfo(id="r1"), session="s2", seq=1, layers=LAYERS)
    store.write(lambda c: Ingest("").take(c, one, later))
    assert store.write(lambda c: retention.delete_expired(c, "r1", keep, later)) is False
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.uploads)) == 3


def test_a_read_is_one_view_whatever_is_committed_meanwhile(store):
    fill(store, uploads=2)
    count = select(func.count()).select_from(t.uploads)
    with store.read() as connection:
        before = connection.scalar(count)
        while store.write(lambda c: retention.delete_some(c, "r1")):
            pass
        assert connection.scalar(count) == before == 2
