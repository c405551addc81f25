"""The filters and counters of runs: each counter is the number of runs that its filter lists, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import sqlalchemy as sa

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.settings import Settings
from tests.helpers.databases import address_of
from tests.helpers.live_server import caller

UNITS = 4
NOW = datetime(2026, 6, 10, tzinfo=UTC)
COUNTERS = {
    "running": {"status": "running"},
    "needs_attention": {"needs_attention": "true"},
    "stalled_or_unwatched": {"stalled_or_unwatched": "true"},
    "total": {},
}


class Server:
    """A server whose time a test sets."""

    def __init__(self, database):
        self.now = NOW
        self._seq = count(1)
        app = create_app(Settings(database_url=address_of(database)), database=database, clock=lambda: self.now)
        self.call = caller(app)

    def upload(self, run, active=(30,) * UNITS, steps=range(1, 11), headers=None, **fields):
        """Send an upload of one layer; return its answer."""
        record = {"layer_id": 1, "n_examples": 100, "active": list(active)}
        body = {
            "run": {"id": run, "project": fields.pop("project", "p"), **fields.pop("info", {})},
            "session": "s1",
            "seq": next(self._seq),
            "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
            "records": [{**record, "first_step": step, "step": step} for step in steps],
            **fields,
        }
        response = self.call("POST", "/v1/uploads", json=body, headers=headers or {})
        assert response.status_code == 202, response.text
        return response.json()

    def upload_dead(self, run, **fields):
        """Send a layer that is born dead, and the rest of the net lives; return its alert of warning or above."""
        (alert,) = self.upload(run, active=(0,) * UNITS, **fields)["alerts"]
        assert (alert["kind"], alert["severity"]) == ("born_dead", "critical")
        return alert["id"]

    def listed(self, **query):
        """Return the ids of the runs that a list has, page by page, sorted."""
        run_ids = []
        cursor = None
        while True:
            page = self.call("GET", "/v1/runs", params={"limit": 2, **query, **({"cursor": cursor} if cursor else {})})
            assert page.status_code == 200, page.text
            run_ids += [run["run_id"] for run in page.json()["items"]]
            cursor = page.json()["next_cursor"]
            if cursor is None:
                assert len(set(run_ids)) == len(run_ids)
                return sorted(run_ids)

    def counts(self, **query):
        """Return the counters."""
        return self.call("GET", "/v1/run-counts", params=query).json()


@pytest.fixture
def server(database):
    return Server(database)


@pytest.fixture
def runs(server, database):
    """Runs of every kind that a counter counts."""
    server.now = NOW - timedelta(days=8)
    server.upload_dead("died-8-days-ago")
    server.now = NOW - timedelta(days=6)
    resolved = server.upload_dead("died-and-closed")
    server.call("POST", f"/v1/alerts/{resolved}/resolve", json={"author": "Ada"})
    server.now = NOW
    server.upload("healthy")
    server.upload("healthy-and-finished", final_status="finished")
    server.upload_dead("died-and-finished", final_status="finished")
    acknowledged = server.upload_dead("acknowledged")
    server.call("POST", f"/v1/alerts/{acknowledged}/acknowledge", json={"author": "Ada"})
    server.upload_dead("silenced")
    silence = {"matchers": {"run_id": "silenced"}, "ends_at": (NOW + timedelta(days=1)).isoformat(), "author": "Ada"}
    assert server.call("POST", "/v1/silences", json=silence).status_code == 201
    server.upload("unwatched", watching={"state": "unwatched", "reason": "eval_mode", "last_step": 4})
    server.upload("stalled")
    server.upload("elsewhere", project="q", info={"tags": ["ci"], "group": "sweep"})
    is_stalled = tables.runs.c.run_id == "stalled"
    database.write(
        lambda connection: connection.execute(sa.update(tables.runs).where(is_stalled).values(status="stalled"))
    )


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    "subject", [{}, {"project": "p"}, {"project": "q"}, {"tag": "ci"}, {"q": "DIED"}, {"group": "x"}]
)
def test_each_counter_is_the_number_of_runs_that_its_filter_lists(subject, server):
    counts = server.counts(**subject)
    queries = COUNTERS | {"died_last_7_days": {"died_since": counts.pop("died_since")}}
    assert counts == {name: len(server.listed(**subject, **query)) for name, query in queries.items()}


@pytest.mark.usefixtures("runs")
def test_died_since_lists_runs_in_which_a_layer_died_then_whatever_became_of_it(server):
    recent = ["acknowledged", "died-and-closed", "died-and-finished", "silenced"]
    assert server.listed(died_since=(NOW - timedelta(days=7)).isoformat()) == recent
    assert server.listed(died_since=(NOW - timedelta(days=8)).isoformat()) == sorted([*recent, "died-8-days-ago"])
    assert server.listed(died_since=(NOW + timedelta(seconds=1)).isoformat()) == []


@pytest.mark.usefixtures("runs")
def test_a_run_needs_attention_while_an_alert_is_open_that_no_one_acknowledged_or_silenced(server):
    assert server.listed(needs_attention="true") == ["died-8-days-ago", "unwatched"]
    assert len(server.listed(needs_attention="false")) == len(server.listed()) - 2


@pytest.mark.usefixtures("runs")
def test_status_and_health_may_be_one_of_several(server):
    both = server.listed(status="stalled,finished")
    assert both == sorted(server.listed(status="stalled") + server.listed(status="finished")) != []
    assert server.listed(health="damaged,unwatched", status="running,failed") == [
        *server.listed(health="damaged", status="running"), "unwatched",
    ]  # fmt: skip
    assert server.listed(status="running,stalled,finished,failed") == server.listed()


@pytest.mark.parametrize(
    "query", ["status=running,", "status=ended", "status=", "health=dead", "status=running, stalled"]
)
def test_an_unknown_status_is_refused_with_those_that_there_are(query, server):
    problem = server.call("GET", f"/v1/runs?{query}").json()
    assert (problem["status"], problem["code"]) == (422, "invalid_request")
    assert "must be one or several of" in problem["detail"]


def test_a_death_counts_from_the_time_at_which_it_was_found_not_from_the_first_sign(server, database):
    server.upload("r", steps=range(1, 200), active=(60,) * UNITS)
    for number in range(40):
        server.now = NOW + timedelta(hours=number)
        server.upload("r", steps=range(200 + 10 * number, 210 + 10 * number), active=(0,) * UNITS)
    with database.read() as connection:
        (alert,) = connection.execute(sa.select(tables.alerts)).all()
        events = connection.execute(sa.select(tables.alert_events).order_by(tables.alert_events.c.event_number)).all()
    assert (alert.kind, alert.opened_at <= alert.died_at) == ("dead", True)
    assert alert.died_at in {event.occurred_at for event in events}
    assert server.listed(died_since=alert.died_at.isoformat()) == ["r"]
    assert server.listed(died_since=(alert.died_at + timedelta(microseconds=1)).isoformat()) == []


def test_a_run_has_its_first_step_and_the_rate_of_its_newest_session(server):
    server.upload("r", steps=range(1, 11))
    run = server.call("GET", "/v1/runs/r").json()
    assert (run["first_step"], run["steps_per_s"]) == (1, None)
    server.now += timedelta(seconds=20)
    server.upload("r", steps=range(11, 111))
    assert server.call("GET", "/v1/runs/r").json()["steps_per_s"] == 5.0
    server.now += timedelta(days=1)
    server.upload("r", steps=range(90, 101), session="s2")
    run = server.call("GET", "/v1/runs/r").json()
    assert (run["first_step"], run["steps_per_s"]) == (90, None)
    server.now += timedelta(seconds=10)
    server.upload("r", steps=range(102, 106), session="s2")
    assert server.call("GET", "/v1/runs/r").json()["steps_per_s"] == 0.5


def test_a_training_that_is_sent_after_its_end_has_no_rate(server):
    for first in (1, 11):
        server.upload("r", steps=range(first, first + 10), headers={"Relumine-Replayed": "true"})
        server.now += timedelta(seconds=5)
    assert server.call("GET", "/v1/runs/r").json()["steps_per_s"] is None


def test_a_key_of_one_project_counts_its_runs_only(server):
    server.upload("ours", project="p")
    server.upload("theirs", project="q")
    admin = server.call("POST", "/v1/keys", json={"scope": "admin"}).json()["key"]
    body = {"scope": "read", "project": "p"}
    key = server.call("POST", "/v1/keys", json=body, headers={"authorization": f"Bearer {admin}"}).json()["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert server.call("GET", "/v1/run-counts", headers=headers).json()["total"] == 1
    assert server.call("GET", "/v1/run-counts?project=q", headers=headers).json()["total"] == 0
