"""Thresholds of a project: read, replaced, refused where they are invalid, and in force everywhere within seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import numpy as np
import pytest
from sqlalchemy import select, update

from relumine.schemas.record import Record
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo
from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.detection import detector, state
from relumine_server.detection import policy as detection_policy
from relumine_server.detection.policy import DEFAULT
from relumine_server.policies import repository as policy_repository
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

POLICY = "/v1/projects/p/policy"
UNITS = 16
BORN_DEAD = [30] + [0] * (UNITS - 1)
INSENSITIVE = {"born_dead_layer": 1.0}
"""Thresholds under which a layer with one active unit of 16 is not born dead."""


class Clock:
    """A clock that tests advance."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, duration: timedelta) -> None:
        self.now += duration


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(database, clock):
    """Starts another application on the same database, as another process would; returns its caller."""

    def start_app():
        return caller(create_app(Settings(), database=database, clock=clock))

    return start_app


@pytest.fixture
def call(start):
    call = start()
    assert upload(call, "first").status_code == 202  # a project is created with its first run
    return call


def upload(call, run, project="p", seq=1, active=BORN_DEAD):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": active}
        for step in range(10 * seq - 9, 10 * seq + 1)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    body = {"run": {"id": run, "project": project}, "session": "s1", "seq": seq}
    return call("POST", "/v1/uploads", json={**body, "layers": layers, "records": records})


def kinds(answer):
    return [alert["kind"] for alert in answer.json()["alerts"]]


def default_thresholds():
    return {name: value for name, value in asdict(DEFAULT).items() if type(value) in (int, float)}


def put(call, **thresholds):
    answer = call("PUT", POLICY, json={"thresholds": thresholds})
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored_policy(database):
    with database.read() as connection:
        return connection.scalar(select(tables.projects.c.policy).where(tables.projects.c.project == "p"))


def test_a_project_that_changed_nothing_has_the_defaults_and_a_description_of_each(call):
    policy = call("GET", POLICY).json()
    assert (policy["project"], policy["changed"]) == ("p", {})
    assert policy["thresholds"] == default_thresholds()
    assert policy["known"].keys() == policy["thresholds"].keys()
    for threshold in policy["known"].values():
        assert threshold["min"] <= threshold["default"] <= threshold["max"]
        assert threshold["reason"]
        assert not threshold["reason"].startswith("…")


def test_what_is_put_is_what_is_read_and_only_what_differs_is_stored(call, database):
    changed = {"nats": 12.5, "warmup_records": 20}
    policy = put(call, **changed, critical_share=DEFAULT.critical_share)
    assert policy == call("GET", POLICY).json()
    assert policy["changed"] == stored_policy(database) == changed
    assert policy["thresholds"] == default_thresholds() | changed
    assert put(call, **policy["thresholds"])["changed"] == changed  # everything that was read may be put back
    assert put(call, nats=11)["changed"] == {"nats": 11.0}
    assert put(call)["changed"] == {}
    assert stored_policy(database) is None


def test_other_projects_keep_their_policy(call):
    upload(call, "other", project="q")
    put(call, nats=12)
    assert call("GET", "/v1/projects/q/policy").json()["changed"] == {}


@pytest.mark.parametrize("name", ["team/model", "a/policy", "a/retention", "/", "50% off", "a b?c#d", "ü🔥"])
def test_a_project_of_any_name_has_its_own_policy_and_retention(call, name):
    upload(call, "named", project=name)
    address = f"/v1/projects/{quote(name, safe='')}"
    assert call("PUT", f"{address}/policy", json={"thresholds": {"nats": 12}}).json()["project"] == name
    assert call("GET", f"{address}/policy").json()["changed"] == {"nats": 12.0}
    assert call("GET", f"{address}/retention").status_code == 200
    assert call("GET", POLICY).json()["changed"] == {}


INVALID = {
    "an unknown name": b'{"thresholds": {"secretsecret": 1}}',
    "NaN": b'{"thresholds": {"nats": NaN}}',
    "infinity": b'{"thresholds": {"nats": 1e999}}',
    "a string": b'{"thresholds": {"nats": "secretsecret"}}',
    "a number in a string": b'{"thresholds": {"nats": "5"}}',
    "a boolean": b'{"thresholds": {"nats": true}}',
    "null": b'{"thresholds": {"nats": null}}',
    "a negative number": b'{"thresholds": {"nats": -1}}',
    "zero": b'{"thresholds": {"nats": 0}}',
    "a share above one": b'{"thresholds": {"critical_share": 1.5}}',
    "a fractional count": b'{"thresholds": {"warmup_records": 2.5}}',
    "a very long integer": b'{"thresholds": {"nats": ' + b"9" * 400 + b"}}",
    "an integer beyond the parser": b'{"thresholds": {"nats": ' + b"9" * 5000 + b"}}",
    "a name that is no Unicode": b'{"thresholds": {"\\ud800": 1}}',
    "a list": b'{"thresholds": [1]}',
    "an unknown field": b'{"thresholds": {}, "more": 1}',
    "no thresholds": b"{}",
    "no JSON": b"{",
    "one valid, one invalid": b'{"thresholds": {"nats": 9, "alpha": 2}}',
}


def test_invalid_thresholds_are_refused_and_change_nothing(call, database):
    put(call, nats=12)
    for name, body in INVALID.items():
        answer = call("PUT", POLICY, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, name
        assert answer.headers["content-type"] == "application/problem+json", name
        assert "secretsecret" not in answer.text, name
        assert stored_policy(database) == {"nats": 12.0}, name


def test_a_refusal_names_the_range(call):
    problem = call("PUT", POLICY, json={"thresholds": {"critical_share": 1.5}}).json()
    assert (problem["code"], problem["detail"]) == ("invalid_policy", "critical_share is a number from 1e-06 to 1")


def test_an_unknown_project_is_not_found(call):
    path = "/v1/projects/none/policy"
    assert call("GET", path).json()["code"] == "project_not_found"
    assert call("PUT", path, json={"thresholds": {}}).json()["code"] == "project_not_found"


def test_uploads_are_analyzed_under_the_policy_of_their_project(call, clock):
    put(call, **INSENSITIVE)
    clock.advance(policy_repository.CACHE_TTL)
    assert kinds(upload(call, "quiet")) == []
    assert kinds(upload(call, "loud", project="q")) == ["born_dead"]


def test_a_change_is_in_force_in_every_process_within_seconds(start, call, clock):
    other = start()
    assert kinds(upload(other, "before")) == ["born_dead"]
    put(call, **INSENSITIVE)
    clock.advance(policy_repository.CACHE_TTL)
    assert kinds(upload(other, "after")) == kinds(upload(call, "after-too")) == []
    put(call)
    clock.advance(policy_repository.CACHE_TTL)
    assert kinds(upload(other, "again")) == kinds(upload(call, "again-too")) == ["born_dead"]


def test_a_clock_that_was_set_back_does_not_keep_an_old_policy_in_force(start, call, clock):
    put(call, **INSENSITIVE)
    clock.advance(-timedelta(days=1))
    assert kinds(upload(call, "after")) == []


def test_a_running_run_continues_under_the_new_policy(call, clock):
    put(call, **INSENSITIVE)
    clock.advance(policy_repository.CACHE_TTL)
    assert kinds(upload(call, "r")) == []
    put(call)
    clock.advance(policy_repository.CACHE_TTL)
    assert kinds(upload(call, "r", seq=2)) == ["born_dead"]


def test_thresholds_of_another_version_that_are_invalid_today_are_at_their_default(call, database, clock):
    policy = {"gone": 3, "nats": -1, "warmup_records": 2.5} | INSENSITIVE
    database.write(lambda c: c.execute(update(tables.projects).values(policy=policy)).rowcount)
    clock.advance(policy_repository.CACHE_TTL)
    assert call("GET", POLICY).json()["changed"] == INSENSITIVE
    assert kinds(upload(call, "r")) == []


def test_policies_are_read_once_in_two_seconds_however_many_runs_upload(call, database, clock, monkeypatch):
    restored = []
    monkeypatch.setattr(detection_policy, "restore", lambda policy: restored.append(json.dumps(policy)) or DEFAULT)
    put(call, nats=12)
    restored.clear()
    clock.advance(policy_repository.CACHE_TTL)
    for run in range(5):
        upload(call, f"r{run}")
        clock.advance(policy_repository.CACHE_TTL / 10)
    assert restored == ['{"nats": 12.0}']


# No valid threshold breaks the detector.


def series():
    """Layers of examples and of positions that die after a jump of the learning rate, then NaN, then another input."""
    rng = np.random.default_rng(3)
    for number in range(60):
        step = 5 * number + 1
        is_dying = number > 25
        run = {"learning_rates": [0.1 if number < 25 else 1.0], "loss": 1.0 + number, "output_spread": 1 / (1 + number)}
        run |= {"input_mean": 9.0 if number > 50 else 0.1 * rng.random(), "input_std": 1.0}
        yield Record(layer_id=0, first_step=step, step=step, n_examples=64, nonfinite=number == 40, **run)
        for layer in (1, 2):
            dead_units = min(16, number - 25) if is_dying else 0
            active = rng.binomial(64, 0.3, 16)
            active[:dead_units] = 0
            columns = {name: rng.normal(size=16).tolist() for name in ("mean", "bias", "update_shift", "shift_weight")}
            columns |= {"var": [1.0] * 16, "max": [2.0] * 16, "active": active.tolist()}
            yield Record(layer_id=layer, first_step=step, step=step, n_examples=64, n_positions=64, **columns)


SERIES = RecordTable.from_records(series())
LAYERS = [
    LayerInfo(layer_id=1, name="a", units=16, split="linear"),
    LayerInfo(layer_id=2, name="b", units=16, n_unit="positions"),
]


@pytest.mark.parametrize("name", detection_policy.THRESHOLDS)
def test_the_detector_works_with_either_end_of_a_range(name):
    threshold = detection_policy.THRESHOLDS[name]
    for number in (threshold.minimum, threshold.maximum):
        policy = detection_policy.build({name: number})
        _, readings, _ = detector.advance(state.describe(state.empty(), LAYERS), SERIES, policy)
        assert readings
