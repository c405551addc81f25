"""Alerts through the whole server: findings, people, silences, the clock and ends of runs, in any order.

In every order the events of an alert follow the table, each key has one alert, and a receiver that was notified that an
alert fires is notified of its end.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relumine.schemas.alert import OPEN_STATES, SEVERITIES, problem_of
from relumine_server.alerts.lifecycle import FIRING_STATES, TRANSITIONS
from relumine_server.db import tables
from relumine_server.db.database import Database
from tests.helpers.alert_harness import AlertHarness, finding

KEYS = [(0, "diverged"), (1, "dead"), (2, "dying"), (2, "dead"), (2, "no_data"), (3, "dying")]
run_numbers = count(1)

findings = st.builds(
    lambda key, transition, severity, is_collapse: finding(
        *key, transition, severity, upstream=[1] if is_collapse else ()
    ),
    st.sampled_from(KEYS),
    st.sampled_from(["raised", "changed", "resolved"]),
    st.sampled_from(SEVERITIES),
    st.booleans(),
)
uploads = st.tuples(
    st.just("upload"),
    st.lists(findings, max_size=4),
    st.sampled_from([None, None, None, "finished", "failed"]),
    st.booleans(),
)
acts = st.tuples(st.sampled_from(["acknowledge", "resolve"]), st.sampled_from([*KEYS, (0, "stalled")]))
waits = st.tuples(st.just("wait"), st.sampled_from([1, 60, 301, 601, 5 * 3600]))
silences = st.tuples(st.just("silence"), st.sampled_from(["dying", "*", "no_data"]), st.sampled_from([30, 900]))
others = st.sampled_from([("unsilence",), ("end",)])
actions = st.lists(st.one_of(uploads, uploads, acts, waits, silences, others), max_size=14)


class RunModel:
    """One run from its first upload to its end. ``notified`` has the alerts that a receiver believes to fire."""

    def __init__(self, harness):
        self.harness = harness
        self.run = f"r{next(run_numbers)}"
        self.session = 1
        self.notified: dict[str, bool] = {}
        self.checked: dict[str, sa.Row] = {}
        harness.notifications.clear()
        self.upload([], None, new_session=False)

    def upload(self, findings, final_status, new_session):
        self.session += new_session
        session = f"s{self.session:03}"
        self.harness.upload(*findings, run=self.run, session=session, final_status=final_status)

    def act(self, action, *arguments):
        if action == "upload":
            self.upload(*arguments)
        elif action == "wait":
            self.harness.wait(seconds=arguments[0])
        elif action == "end":
            self.harness.call("PATCH", f"/v1/runs/{self.run}", json={"status": "finished"})
        elif action == "silence":
            self.silence(*arguments)
        elif action == "unsilence":
            for silence in self.silences():
                self.harness.call("DELETE", f"/v1/silences/{silence['silence_id']}")
        else:
            assert self.harness.act(action, *arguments[0], run=self.run).status_code in {200, 404, 409}
        self.check()

    def silence(self, kind, duration_s):
        ends_at = (self.harness.now + timedelta(seconds=duration_s)).isoformat()
        body = {"matchers": {"run_id": self.run, "kind": kind}, "ends_at": ends_at, "author": "Ada"}
        assert self.harness.call("POST", "/v1/silences", json=body).status_code == 201

    def silences(self):
        return self.harness.call("GET", "/v1/silences").json()["items"]

    def check(self):
        rows = self.rows()
        self.receive({row.alert_id: row for row in rows})
        self.check_suppression(rows)
        if self.harness.run_status(self.run) in {"finished", "failed"}:
            assert {row.state for row in rows} <= {"resolved", "ended"}
        keys = [(row.layer_id, problem_of(row.kind)) for row in rows]
        notified_incidents = {row.incident_id for row in rows if row.firing_notified_at and row.state in OPEN_STATES}
        assert len(keys) == len(set(keys))
        for row in rows:
            is_notified = self.notified.get(row.alert_id, False)
            is_suppressed = row.inhibited_by or row.silenced_by
            assert is_notified == (row.firing_notified_at is not None)
            assert not is_notified or row.state not in {"resolved", "pending"}
            is_explained = is_suppressed or row.incident_id in notified_incidents
            assert is_notified or is_explained or row.state not in FIRING_STATES
            assert (row.state == "resolved") == (row.resolved_at is not None) == (row.resolved_by is not None)
            assert row.state == "ended" or (row.state == "acknowledged") == (row.acknowledged_by is not None)
            assert (row.state == "ended") == (row.ended_at is not None) == (row.ended_step is not None)
            if self.checked.get(row.alert_id) != row:
                self.check_events(row)
                self.checked[row.alert_id] = row

    def check_suppression(self, rows):
        """The alert or silence that suppresses another is active, and suppresses every alert that it must."""
        severe = [row for row in rows if row.severity != "info"]
        active = {row.alert_id for row in severe if row.state not in {"resolved", "ended", "pending"}}
        active_silences = {silence["silence_id"] for silence in self.silences() if silence["active"]}
        diverged = f"{self.run}.0.diverged"
        for row in rows:
            if row.state == "ended":
                continue  # it keeps the alert that explained it
            assert row.inhibited_by is None or row.inhibited_by in active
            assert row.silenced_by is None or row.silenced_by in active_silences
            can_be_inhibited = row.state != "resolved" and row.kind != "diverged"
            assert (row.inhibited_by == diverged) == (can_be_inhibited and diverged in active)

    def rows(self):
        with self.harness.database.read() as connection:
            return connection.execute(sa.select(tables.alerts).where(tables.alerts.c.run_id == self.run)).all()

    def receive(self, rows):
        for event, alerts in self.harness.notifications:
            alert_ids = [alert_id for alert_id, _severity in alerts]
            assert len(alert_ids) == len(set(alert_ids))
            for alert_id in alert_ids:
                assert event == "alert.firing" or self.notified.get(alert_id)
                row = rows[alert_id]
                assert event != "alert.firing" or not (row.inhibited_by or row.silenced_by)
                self.notified[alert_id] = not event.startswith("alert.resolved")
        self.harness.notifications.clear()

    def check_events(self, row):
        events = self.harness.events(row.layer_id, row.kind, self.run)
        assert [event["event_number"] for event in events] == list(range(1, row.event_count + 1))
        for previous, event in zip([None, *events], events, strict=False):
            assert event["from_state"] == (previous and previous["to_state"])
            assert TRANSITIONS[event["from_state"]][event["event"]].to_state == event["to_state"]
        assert events[-1]["to_state"] == row.state

    def end(self):
        """Of a run that ended nothing is due, until its alerts expire: then no receiver believes that any fires."""
        self.act("unsilence")
        self.upload([], "finished", new_session=True)
        self.checked.clear()  # the events of every alert are read once more
        self.check()
        assert {row.state for row in self.rows()} <= {"resolved", "ended"}
        assert self.harness.wait(seconds=1) == 0
        self.harness.wait(days=1)
        self.check()
        assert not any(self.notified.values())
        assert self.harness.wait(seconds=1) == 0


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 30), ("postgresql", 12)])
def test_in_any_order_nothing_is_lost_doubled_or_outside_the_table(kind, examples, more_examples, new_database):
    database = Database.open(new_database(kind))
    harness = AlertHarness(database)

    @settings(max_examples=examples * more_examples, suppress_health_check=list(HealthCheck))
    @given(actions)
    def play(run_actions):
        model = RunModel(harness)
        for action in run_actions:
            model.act(*action)
        model.end()

    play()
    database.close()
