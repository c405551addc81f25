"""Retention: what is thinned and deleted, what never is, and that it may be interrupted anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from relumine.schemas.record import Record
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.db import types as db_types
from relumine_server.detection.policy import Policy
from relumine_server.ingest import detector_states
from relumine_server.ingest.analysis import SAVE_EVERY
from relumine_server.ingest.service import IngestService
from relumine_server.maintenance.worker import MaintenanceWorker
from relumine_server.runs import repository as run_repository
from relumine_server.runs import retention
from relumine_server.runs.retention import OverfullRun, Retention
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

UNITS = 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYERS = [LayerInfo(layer_id=1, name="act1", units=UNITS)]


@pytest.fixture
def app(database):
    return create_app(Settings(run_retention_days=None), database=database, clock=lambda: NOW)


def fill(database, uploads=30, *, run="r1", dies_at=None, final_status=None, ingest=None):
    """Ingest uploads of ten steps each; from step ``dies_at`` on no unit is active."""
    ingest = ingest or IngestService("")
    for seq in range(1, uploads + 1):
        records = []
        for step in range(10 * seq - 9, 10 * seq + 1):
            is_dead = dies_at is not None and step >= dies_at
            columns = {"active": [30] * UNITS, "silent": [0] * UNITS}
            if is_dead:
                columns = {"active": [0] * UNITS, "silent": [64 * (step - dies_at + 1)] * UNITS}
            records.append(Record(layer_id=1, first_step=step, step=step, n_examples=64, n_positions=64, **columns))
        upload = Upload(
            run=RunInfo(id=run), session="s1", seq=seq, layers=LAYERS if seq == 1 else [], records=records,
            final_status=final_status if seq == uploads else None,
        )  # fmt: skip
        database.write(lambda c, upload=upload: ingest.ingest(c, upload, NOW))


def stored_steps(database, run="r1"):
    with database.read() as connection:
        return set(connection.scalars(select(tables.unit_stats.c.step).where(tables.unit_stats.c.run_id == run)))


def thinnable_steps(steps):
    """Of 300 steps, those that are neither of the baseline nor the latest."""
    return {step for step in steps if retention.FIRST_ROWS < step <= 300 - retention.LATEST_ROWS}


def thin(database, every=10, max_bytes=0):
    run = OverfullRun("r1", Retention(unit_stats_bytes_per_run=max_bytes, unit_stats_keep_every=every))
    while database.write(lambda c: retention.thin(c, run)):
        pass


def size_of_rows(database, count):
    """Return the bytes of so many rows of per-unit statistics; those of ``fill`` differ little."""
    with database.read() as connection:
        return count * connection.scalar(select(func.max(tables.unit_stats.c.size_bytes)))


def test_the_first_and_the_latest_rows_are_thinned_last(database):
    fill(database)
    thin(database, max_bytes=size_of_rows(database, retention.FIRST_ROWS + retention.LATEST_ROWS + 3))
    steps = stored_steps(database)
    assert set(range(1, 11)) <= steps  # the baseline
    assert set(range(300 - retention.LATEST_ROWS + 1, 301)) <= steps  # the latest
    assert len(thinnable_steps(steps)) <= 3  # every 10th were still too many
    with database.read() as connection:
        size = connection.scalar(select(func.sum(tables.unit_stats.c.size_bytes)))
        assert connection.scalar(select(tables.runs.c.unit_stat_bytes)) == size


def test_a_run_is_thinned_no_further_than_its_retention_asks(database):
    fill(database)
    with database.read() as connection:
        size = connection.scalar(select(tables.runs.c.unit_stat_bytes))
    thin(database, max_bytes=size // 2)
    steps = thinnable_steps(stored_steps(database))
    assert steps == set(range(11, 300 - retention.LATEST_ROWS + 1, 10))
    thin(database, max_bytes=size // 2)
    assert thinnable_steps(stored_steps(database)) == steps


@pytest.mark.parametrize("rows", [1, 5, 40, 70])
def test_a_run_keeps_at_most_its_bytes_and_of_them_the_baseline_and_the_latest_row(database, rows):
    fill(database, uploads=33)  # the state is saved with the last one
    max_bytes = size_of_rows(database, rows)
    thin(database, max_bytes=max_bytes)
    with database.read() as connection:
        size = connection.scalar(select(func.sum(tables.unit_stats.c.size_bytes)))
        assert connection.scalar(select(tables.runs.c.unit_stat_bytes)) == size <= max_bytes
    steps = stored_steps(database)
    assert len(steps) >= rows
    assert max(steps) == 330
    assert len(set(range(1, 11)) & steps) == min(rows - 1, 10)  # the baseline, as far as it fits beside the latest


def test_the_rows_around_an_alert_are_thinned_last(database):
    fill(database, dies_at=120)
    with database.read() as connection:
        opened_steps = set(connection.scalars(select(tables.alerts.c.opened_step)))
    assert opened_steps
    thin(database, max_bytes=size_of_rows(database, 100))
    for step in opened_steps:
        assert set(range(step - 4, step + 6)) <= stored_steps(database)


def test_a_lost_state_is_loaded_from_what_thinning_left(database):
    ingest = IngestService("")
    fill(database, uploads=SAVE_EVERY * 3 + 5, ingest=ingest, dies_at=200)
    thin(database)
    with database.read() as connection:
        run = connection.execute(select(tables.runs)).one()
        cached = ingest._analyzer.states.get("r1", detector_states.newest_version(run))
        loaded = detector_states.load(connection, "r1", run.detector_session, Policy())
    assert cached is not None
    assert (cached.state.units == loaded.state.units).all()
    assert cached.state.open_problems == loaded.state.open_problems
    assert loaded.unsaved_uploads > 0


def test_an_ended_run_expires_and_a_running_one_never_does(app, database):
    call = caller(app)
    fill(database, uploads=2, run="old", final_status="finished")
    fill(database, uploads=2, run="running")
    body = {"unit_stats_bytes_per_run": 2**20, "unit_stats_keep_every": 5, "run_retention_days": 7}
    assert call("PUT", "/v1/projects/default/retention", json=body).json() == body
    assert call("GET", "/v1/projects/default/retention").json() == body
    for days, remaining in ((6, {"old", "running"}), (8, {"running"})):
        now = NOW + timedelta(days=days)
        MaintenanceWorker(database, app.state.services.settings, lambda now=now: now).run_once()
        assert {run["run_id"] for run in call("GET", "/v1/runs").json()["items"]} == remaining
    with database.read() as connection:
        for table in (
            tables.unit_stats,
            tables.segments,
            tables.uploads,
            tables.layers,
            tables.run_sessions,
            tables.detector_states,
        ):
            assert set(connection.scalars(select(table.c.run_id))) == {"running"}


INVALID = (
    {"unit_stats_bytes_per_run": 1},
    {"unit_stats_keep_every": 1},
    {"run_retention_days": 0},
    {"more": 1},
    {"unit_stats_bytes_per_run": 1e300},
)


def test_invalid_retentions_are_refused_and_unknown_projects_are_not_found(app):
    call = caller(app)
    assert call("GET", "/v1/projects/none/retention").json()["code"] == "project_not_found"
    valid = {"unit_stats_bytes_per_run": 2**20, "unit_stats_keep_every": 5, "run_retention_days": None}
    assert call("PUT", "/v1/projects/none/retention", json=valid).json()["code"] == "project_not_found"
    for invalid in INVALID:
        assert call("PUT", "/v1/projects/none/retention", json=valid | invalid).status_code == 422


def test_an_interrupted_deletion_continues(database, app, monkeypatch):
    monkeypatch.setattr(run_repository, "CHILDREN", dict.fromkeys(run_repository.CHILDREN, 7))
    fill(database, uploads=5)
    assert database.write(lambda c: run_repository.mark_deleted(c, "r1", NOW))
    for _ in range(3):
        assert database.write(lambda c: retention.delete_batch(c, "r1"))
    app.state.services.maintenance.run_once()
    with database.read() as connection:
        for table in db_types.metadata.sorted_tables:
            if table.name not in ("projects", "webhooks"):
                assert connection.scalar(select(func.count()).select_from(table)) == 0, table.name


def test_a_run_that_was_resumed_is_not_expired(database):
    fill(database, uploads=2, final_status="finished")
    default = Retention(run_retention_days=7)
    later = NOW + timedelta(days=8)
    with database.read() as connection:
        assert retention.expired(connection, default, later) == ["r1"]
    upload = Upload(run=RunInfo(id="r1"), session="s2", seq=1, layers=LAYERS)
    database.write(lambda c: IngestService("").ingest(c, upload, later))
    assert database.write(lambda c: retention.mark_expired(c, "r1", default, later)) is False
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.uploads)) == 3


def test_a_read_is_one_snapshot_whatever_is_committed_meanwhile(database):
    fill(database, uploads=2)
    count = select(func.count()).select_from(tables.uploads)
    with database.read() as connection:
        assert connection.scalar(count) == 2
        while database.write(lambda c: retention.delete_batch(c, "r1")):
            pass
        assert connection.scalar(count) == 2
