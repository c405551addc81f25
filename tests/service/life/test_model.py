"""The life of alerts through the whole server: findings, people, silences, the clock and ends of runs, in any order.

Whatever happens, the history of an alert follows the table, there is one alert of a key, and a receiver that was told
that an alert fires hears of its end.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from alert_world import AlertWorld, found
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relumine.views import SEVERITIES
from relumine_server.life.machine import FIRING, TABLE
from relumine_server.storage import tables as t

KEYS = [(0, "diverged"), (1, "dead"), (2, "dying"), (2, "no_data"), (3, "dying")]
numbers = count(1)

findings = st.builds(
    lambda key, transition, severity, muted: found(*key, transition, severity, upstream=[1] if muted else ()),
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
happenings = st.lists(st.one_of(uploads, uploads, acts, waits, silences, others), max_size=14)


class Story:
    """One run, from its first upload to its end, and what a receiver believes of its alerts."""

    def __init__(self, world):
        self.world, self.run, self.session = world, f"r{next(numbers)}", 1
        self.heard: dict[str, bool] = {}
        world.told.clear()
        self.upload([], None, begins=False)

    def upload(self, said, closing, begins):
        self.session += begins
        session = f"s{self.session:03}"
        self.world.upload(*said, run=self.run, session=session, closing=closing)

    def happen(self, what, *how):
        if what == "upload":
            self.upload(*how)
        elif what == "wait":
            self.world.move(seconds=how[0])
        elif what == "end":
            self.world.call("PATCH", f"/v1/runs/{self.run}", json={"state": "finished"})
        elif what == "silence":
            ends_at = (self.world.now + timedelta(seconds=how[1])).isoformat()
            body = {"matchers": {"run_id": self.run, "kind": how[0]}, "ends_at": ends_at, "author": "Ada"}
            assert self.world.call("POST", "/v1/silences", json=body).status_code == 201
        elif what == "unsilence":
            for one in self.world.call("GET", "/v1/silences").json()["items"]:
                self.world.call("DELETE", f"/v1/silences/{one['silence_id']}")
        else:
            assert self.world.act(what, *how[0], run=self.run).status_code in {200, 404, 409}
        self.check()

    def check(self):
        rows = self.rows()
        self.listen({row.alert_id: row for row in rows})
        self.explained(rows)
        if self.world.run_state(self.run) in {"finished", "failed"}:
            assert {row.state for row in rows} <= {"resolved"}
        keys = [(row.layer_id, row.kind) for row in rows]
        assert len(keys) == len(set(keys))
        for row in rows:
            heard = self.heard.get(row.alert_id, False)
            quiet = row.muted_by or row.silenced_by
            assert heard == (row.told_at is not None)
            assert not heard or row.state not in {"resolved", "pending"}
            assert heard or quiet or row.state not in FIRING
            assert (row.state == "resolved") == (row.resolved_at is not None) == (row.closed_by is not None)
            assert (row.state == "acknowledged") == (row.acknowledged_by is not None)
            self.follow(row)

    def explained(self, rows):
        """What keeps an alert quiet is there, and keeps quiet all that it must."""
        loud = [row for row in rows if row.severity != "info"]
        still = {row.alert_id for row in loud if row.state not in {"resolved", "pending"}}
        held = {one["silence_id"] for one in self.world.call("GET", "/v1/silences").json()["items"] if one["active"]}
        diverged = f"{self.run}.0.diverged"
        for row in rows:
            assert row.muted_by is None or row.muted_by in still
            assert row.silenced_by is None or row.silenced_by in held
            is_victim = row.state != "resolved" and row.kind != "diverged"
            assert (row.muted_by == diverged) == (is_victim and diverged in still)

    def rows(self):
        with self.world.store.read() as connection:
            return connection.execute(sa.select(t.alerts).where(t.alerts.c.run_id == self.run)).all()

    def listen(self, rows):
        for event, told in self.world.told:
            ids = [alert_id for alert_id, _severity in told]
            assert len(ids) == len(set(ids))
            for alert_id in ids:
                assert event == "alert.firing" or self.heard.get(alert_id)
                row = rows[alert_id]
                assert event != "alert.firing" or not (row.muted_by or row.silenced_by)
                self.heard[alert_id] = event != "alert.resolved"
        self.world.told.clear()

    def follow(self, row):
        entries = self.world.history(row.layer_id, row.kind, self.run)
        assert [entry["number"] for entry in entries] == list(range(1, row.moves + 1))
        for before, after in zip([None, *entries], entries, strict=False):
            assert after["from_state"] == (before and before["to_state"])
            assert TABLE[after["from_state"]][after["event"]].to == after["to_state"]
        assert entries[-1]["to_state"] == row.state

    def end(self):
        """After its end nobody believes that anything fires, and nothing is due any more."""
        self.happen("unsilence")
        self.upload([], "finished", begins=True)
        self.check()
        assert not any(self.heard.values())
        assert {row.state for row in self.rows()} <= {"resolved"}
        assert self.world.move(seconds=1) == 0


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 60), ("postgresql", 25)])
def test_in_any_order_nothing_is_lost_doubled_or_out_of_the_table(kind, examples, new_database, monkeypatch):
    world = AlertWorld(new_database(kind), monkeypatch)

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(happenings)
    def tell(happened):
        story = Story(world)
        for one in happened:
            story.happen(*one)
        story.end()

    tell()
    world.close()
