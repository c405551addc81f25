"""Thresholds of a project: read, replaced, refused where they cannot be, and in force everywhere within seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from live_server import caller
from sqlalchemy import select, update

from relumine.table import RecordTable
from relumine.wire import LayerInfo, Record
from relumine_server.app import create_app
from relumine_server.detection import onset, state
from relumine_server.detection.policy import DEFAULT
from relumine_server.settings import Settings
from relumine_server.storage import policies, thresholds
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

POLICY = "/v1/projects/p/policy"
UNITS = 16
BORN_DEAD = [30] + [0] * (UNITS - 1)
QUIET = {"born_dead_layer": 1.0}
"""A layer in which one unit fires is not born dead: 15 of 16 are no problem."""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now

    def pass_by(self, passed: timedelta) -> None:
        self.now += passed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url):
    made = Store.open(database_url)
    yield made
    made.close()


@pytest.fixture
def start(store, clock):
    """Starts another server process's application on the same database; gives its caller."""

    def go():
        return caller(create_app(Settings(), store=store, clock=clock))

    return go


@pytest.fixture
def call(start):
    made = start()
    assert upload(made, "first").status_code == 202  # projects come with their first run
    return made


def upload(call, run, project="p", seq=1, active=BORN_DEAD):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": active}
        for step in range(10 * seq - 9, 10 * seq + 1)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    head = {"run": {"id": run, "project": project}, "session": "s1", "seq": seq}
    return call("POST", "/v1/uploads", json={**head, "layers": layers, "records": records})


def kinds(answer):
    return [alert["kind"] for alert in answer.json()["alerts"]]


def numbers():
    return {name: value for name, value in asdict(DEFAULT).items() if type(value) in (int, float)}


def put(call, **changed):
    answer = call("PUT", POLICY, json={"thresholds": changed})
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(store):
    with store.read() as connection:
        return connection.scalar(select(t.projects.c.policy).where(t.projects.c.project == "p"))


def test_a_project_that_changed_nothing_goes_by_the_defaults_and_learns_what_each_is_for(call):
    read = call("GET", POLICY).json()
    assert (read["project"], read["changed"]) == ("p", {})
    assert read["thresholds"] == numbers()
    assert read["known"].keys() == read["thresholds"].keys()
    for known in read["known"].values():
        assert known["least"] <= known["default"] <= known["most"]
        assert known["reason"]
        assert not known["reason"].startswith("…")


def test_what_is_put_is_what_is_read_and_only_what_differs_is_stored(call, store):
    changed = {"nats": 12.5, "warmup_records": 20}
    after = put(call, **changed, critical_share=DEFAULT.critical_share)
    assert after == call("GET", POLICY).json()
    assert after["changed"] == stored(store) == changed
    assert after["thresholds"] == numbers() | changed
    assert put(call, **after["thresholds"])["changed"] == changed  # all that was read may be put back
    assert put(call, nats=11)["changed"] == {"nats": 11.0}
    assert put(call)["changed"] == {}
    assert stored(store) is None


def test_other_projects_keep_theirs(call):
    upload(call, "other", project="q")
    put(call, nats=12)
    assert call("GET", "/v1/projects/q/policy").json()["changed"] == {}


ODD = {
    "an unknown name": b'{"thresholds": {"secretsecret": 1}}',
    "NaN": b'{"thresholds": {"nats": NaN}}',
    "infinity": b'{"thresholds": {"nats": 1e999}}',
    "a text": b'{"thresholds": {"nats": "secretsecret"}}',
    "a number in a text": b'{"thresholds": {"nats": "5"}}',
    "a truth": b'{"thresholds": {"nats": true}}',
    "nothing": b'{"thresholds": {"nats": null}}',
    "less than nothing": b'{"thresholds": {"nats": -1}}',
    "zero": b'{"thresholds": {"nats": 0}}',
    "a share of more than all": b'{"thresholds": {"critical_share": 1.5}}',
    "half a count": b'{"thresholds": {"warmup_records": 2.5}}',
    "an endless integer": b'{"thresholds": {"nats": ' + b"9" * 400 + b"}}",
    "an integer beyond the parser": b'{"thresholds": {"nats": ' + b"9" * 5000 + b"}}",
    "a name that is no text": b'{"thresholds": {"\\ud800": 1}}',
    "a list": b'{"thresholds": [1]}',
    "more than thresholds": b'{"thresholds": {}, "more": 1}',
    "no thresholds": b"{}",
    "no JSON": b"{",
    "one good, one bad": b'{"thresholds": {"nats": 9, "alpha": 2}}',
}


def test_thresholds_that_cannot_be_are_a_problem_and_change_nothing(call, store):
    put(call, nats=12)
    for name, body in ODD.items():
        answer = call("PUT", POLICY, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, name
        assert answer.headers["content-type"] == "application/problem+json", name
        assert "secretsecret" not in answer.text, name
        assert stored(store) == {"nats": 12.0}, name


def test_a_refusal_names_the_range(call):
    problem = call("PUT", POLICY, json={"thresholds": {"critical_share": 1.5}}).json()
    assert (problem["code"], problem["detail"]) == ("invalid_policy", "critical_share is a number from 1e-06 to 1")


def test_an_unknown_project_is_not_found(call):
    path = "/v1/projects/none/policy"
    assert call("GET", path).json()["code"] == "project_not_found"
    assert call("PUT", path, json={"thresholds": {}}).json()["code"] == "project_not_found"


def test_uploads_are_judged_by_the_policy_of_their_project(call, clock):
    put(call, **QUIET)
    clock.pass_by(policies.BELIEVED)
    assert kinds(upload(call, "quiet")) == []
    assert kinds(upload(call, "loud", project="q")) == ["born_dead"]


def test_a_change_is_in_force_in_every_process_within_seconds(start, call, clock):
    other = start()
    assert kinds(upload(other, "before")) == ["born_dead"]
    put(call, **QUIET)
    clock.pass_by(policies.BELIEVED)
    assert kinds(upload(other, "after")) == kinds(upload(call, "after-too")) == []
    put(call)
    clock.pass_by(policies.BELIEVED)
    assert kinds(upload(other, "again")) == kinds(upload(call, "again-too")) == ["born_dead"]


def test_a_clock_that_was_set_back_keeps_no_policy_in_force(start, call, clock):
    put(call, **QUIET)
    clock.pass_by(-timedelta(days=1))
    assert kinds(upload(call, "after")) == []


def test_a_run_under_way_goes_on_under_the_new_policy(call, clock):
    put(call, **QUIET)
    clock.pass_by(policies.BELIEVED)
    assert kinds(upload(call, "r")) == []
    put(call)
    clock.pass_by(policies.BELIEVED)
    assert kinds(upload(call, "r", seq=2)) == ["born_dead"]


def test_what_another_version_stored_and_this_one_refuses_is_at_its_default(call, store, clock):
    odd = {"gone": 3, "nats": -1, "warmup_records": 2.5} | QUIET
    store.write(lambda c: c.execute(update(t.projects).values(policy=odd)).rowcount)
    clock.pass_by(policies.BELIEVED)
    assert call("GET", POLICY).json()["changed"] == QUIET
    assert kinds(upload(call, "r")) == []


def test_policies_are_read_once_in_two_seconds_however_many_upload(call, store, clock, monkeypatch):
    read = []
    monkeypatch.setattr(thresholds, "restore", lambda known: read.append(json.dumps(known)) or DEFAULT)
    put(call, nats=12)
    read.clear()
    clock.pass_by(policies.BELIEVED)
    for run in range(5):
        upload(call, f"r{run}")
        clock.pass_by(policies.BELIEVED / 10)
    assert read == ['{"nats": 12.0}']


# No number that is taken breaks a fold.


def series():
    """A layer of examples and one of positions that die after a jump of the rate, then NaN, then a new input."""
    rng = np.random.default_rng(3)
    for look in range(60):
        step, dead = 5 * look + 1, look > 25
        run = {"learning_rates": [0.1 if look < 25 else 1.0], "loss": 1.0 + look, "output_spread": 1.0 / (1 + look)}
        run |= {"input_mean": 9.0 if look > 50 else 0.1 * rng.random(), "input_std": 1.0}
        yield Record(layer_id=0, first_step=step, step=step, n_examples=64, nonfinite=look == 40, **run)
        for layer in (1, 2):
            lost = min(16, look - 25) if dead else 0
            active = rng.binomial(64, 0.3, 16)
            active[:lost] = 0
            columns = {name: rng.normal(size=16).tolist() for name in ("mean", "bias", "update_shift", "shift_weight")}
            columns |= {"var": [1.0] * 16, "max": [2.0] * 16, "active": active.tolist()}
            yield Record(layer_id=layer, first_step=step, step=step, n_examples=64, n_positions=64, **columns)


SERIES = RecordTable.of(series())
LAYERS = [
    LayerInfo(layer_id=1, name="a", units=16, split="linear"),
    LayerInfo(layer_id=2, name="b", units=16, n_unit="positions"),
]


@pytest.mark.parametrize("name", thresholds.DEFAULTS)
def test_either_end_of_a_range_is_safe_to_fold_with(name):
    for number in thresholds.range_of(name):
        policy = thresholds.build({name: number})
        _, readings, _ = onset.advance(state.describe(state.empty(), LAYERS), SERIES, policy)
        assert readings
