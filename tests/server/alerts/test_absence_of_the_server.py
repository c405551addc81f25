"""The server's own absence is no pause of a training: neither raises it a stall, nor does it make it patient."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from relumine_server.alerts.evaluator import AlertEvaluator
from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.settings import Settings
from tests.helpers.alert_harness import START
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller

TIMEOUT_S = 6.0
RUN = "run1"


class Server:
    """A server with a wall clock and a steady clock; ``restart`` begins another process on the same database."""

    def __init__(self, database):
        self.database = database
        self.now = START
        self.steady_s = 0.0
        self.seq = 0
        self.restart()

    def restart(self):
        settings = Settings(database_url=address_of(self.database), stall_timeout_s=TIMEOUT_S, pending_for_s=0)
        app = create_app(settings, database=self.database, clock=lambda: self.now, monotonic=lambda: self.steady_s)
        self.services = app.state.services
        self.call = caller(app)

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.steady_s += seconds

    def upload(self):
        self.seq += 1
        body = {"run": {"id": RUN}, "session": "s1", "seq": self.seq}
        assert self.call("POST", "/v1/uploads", json=body).status_code == 202

    def report(self, seconds):
        """Let the run report every half second."""
        for _ in range(int(seconds * 2)):
            self.wait(0.5)
            self.upload()

    @property
    def run_status(self):
        evaluator: AlertEvaluator = self.services.evaluator
        evaluator.run_once()
        return self.call("GET", f"/v1/runs/{RUN}").json()["status"]

    def silent_until_stalled(self):
        """Let the run fall silent; return after how many seconds it is found, in whole seconds."""
        for second in range(1, 200):
            self.wait(1)
            if self.run_status == "stalled":
                return second
        raise AssertionError("never found")


@pytest.fixture
def server(database):
    return Server(database)


def be_down(server):
    server.wait(27)
    server.restart()


def be_without_database(server):
    for _ in range(27):
        server.wait(1)
        server.database.outages += 1


def be_suspended(server):
    server.now += timedelta(seconds=27)


def put_clock_forward(server):
    server.now += timedelta(days=1)


def put_clock_back(server):
    server.now -= timedelta(days=1)


ABSENCES = pytest.mark.parametrize(
    "absence", [be_down, be_without_database, be_suspended, put_clock_forward, put_clock_back]
)


@ABSENCES
def test_after_its_absence_a_run_that_falls_silent_is_found_as_soon_as_before(server, absence):
    server.report(10)
    absence(server)
    server.report(2)
    assert server.silent_until_stalled() == TIMEOUT_S


@ABSENCES
def test_after_its_absence_a_run_gets_its_whole_patience_to_report(server, absence):
    server.report(10)
    absence(server)
    assert server.run_status == "running"
    server.wait(TIMEOUT_S - 1)
    assert server.run_status == "running"
    server.upload()
    assert server.run_status == "running"


@ABSENCES
def test_a_run_that_ended_during_the_absence_is_found(server, absence):
    server.report(10)
    absence(server)
    server.services.uptime.since()  # as its thread does every second
    assert server.silent_until_stalled() == TIMEOUT_S


def finish(server):
    server.seq += 1
    body = {"run": {"id": RUN}, "session": "s1", "seq": server.seq, "final_status": "finished"}
    assert server.call("POST", "/v1/uploads", json=body).status_code == 202


@pytest.fixture
def expiring(database, monkeypatch):
    monkeypatch.setenv("RELUMINE_RUN_RETENTION_DAYS", "30")
    monkeypatch.setenv("RELUMINE_DELIVERY_RETENTION_DAYS", "30")
    server = Server(database)
    server.upload()
    finish(server)
    server.wait(3600)
    return server


def is_stored(server):
    server.services.maintenance.run_once()
    server.services.evaluator.run_once()
    with server.database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(tables.runs)) == 1


def test_a_clock_that_is_40_days_ahead_deletes_nothing(expiring):
    expiring.now += timedelta(days=40)
    assert is_stored(expiring)
    expiring.wait(3599)
    assert is_stored(expiring)
    expiring.now -= timedelta(days=40)
    assert is_stored(expiring)
    expiring.wait(3 * 24 * 3600)
    assert is_stored(expiring)


def test_a_clock_that_jumped_is_not_believed_while_no_training_reports(expiring):
    expiring.now += timedelta(days=40)
    assert is_stored(expiring)
    expiring.wait(23 * 3600)
    assert is_stored(expiring)


def test_a_server_that_starts_with_a_clock_far_ahead_deletes_nothing_for_an_hour(expiring):
    expiring.now += timedelta(days=40)
    expiring.restart()
    assert is_stored(expiring)
    expiring.wait(3599)
    assert is_stored(expiring)
    expiring.wait(1)
    assert not is_stored(expiring)


def test_a_run_expires_by_a_steady_clock(expiring):
    expiring.wait(31 * 24 * 3600)
    assert not is_stored(expiring)
