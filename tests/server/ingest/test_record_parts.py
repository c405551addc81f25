"""A record that is sent in parts, by ranges of its units, is one record to everything behind the route."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from relumine_server.db import tables
from relumine_server.ingest import record_parts

UNITS = 40
N = 32
STEPS = 30
DIES_AT = 12
LAYER = {"layer_id": 1, "name": "fc", "units": UNITS}


def records():
    """Return the run's record and the layer's of each step; most units die."""
    rng = np.random.default_rng(0)
    silent = np.zeros(UNITS, int)
    by_step = []
    for step in range(1, STEPS + 1):
        active = rng.binomial(N, 0.4, UNITS)
        if step >= DIES_AT:
            active[:30] = 0
        silent = np.where(active > 0, 0, silent + N)
        columns = {"active": active.tolist(), "silent": silent.tolist(), "mean": rng.normal(size=UNITS).tolist()}
        steps = {"first_step": step, "step": step, "n_examples": N}
        by_step.append(({"layer_id": 0, **steps, "loss": 1.0}, {"layer_id": 1, **steps, **columns}))
    return by_step


def cut(record, start, stop):
    return {name: value[start:stop] if isinstance(value, list) else value for name, value in record.items()}


class Sender:
    """Sends uploads of one session."""

    def __init__(self, call, run, session="s1"):
        self._call = call
        self._run = run
        self._session = session
        self._seqs = itertools.count(1)

    def __call__(self, *parts, seq=None, **fields):
        body = {"run": {"id": self._run, "project": "p"}, "session": self._session, "records": list(parts)}
        body |= {"seq": next(self._seqs) if seq is None else seq, "layers": [LAYER], **fields}
        return self._call("POST", "/v1/uploads", json=body)


def alerts_of(call, run):
    varying = ("id", "incident_id", "run_id", "run", "url", "message", "opened_at", "updated_at", "resolved_at")
    alerts = call("GET", f"/v1/alerts?run_id={run}").json()["items"]
    return [{name: value for name, value in alert.items() if name not in varying} for alert in alerts]


def series_of(call, run):
    return call("GET", f"/v1/runs/{run}/layers/1/series?statistics=dead_fraction,active_rate&points=100").json()


@pytest.mark.parametrize("bounds", [(0, 20, 40), (0, 1, 2, 39, 40), tuple(range(0, 41, 8))], ids=str)
def test_a_record_sent_in_parts_gives_the_same_alerts_units_and_series_as_a_whole_one(bounds, call):
    send_whole = Sender(call, "whole")
    send_parts = Sender(call, "parts")
    for run_record, record in records():
        send_whole(run_record, record)
        send_parts(run_record)
        accepted = []
        for start, stop in itertools.pairwise(bounds):
            answer = send_parts(cut(record, start, stop), first_unit=start).json()
            assert answer["analyzed"]
            accepted.append(answer["accepted"])
        assert accepted == [0] * (len(bounds) - 2) + [1]
    assert alerts_of(call, "parts") == alerts_of(call, "whole") != []
    assert series_of(call, "parts") == series_of(call, "whole")
    for path in ("layers/1/units", "layers"):
        ours, theirs = (call("GET", f"/v1/runs/{run}/{path}").json() for run in ("parts", "whole"))
        assert ours == theirs
    counts = [call("GET", f"/v1/runs/{run}").json()["sampled_steps"] for run in ("parts", "whole")]
    assert counts == [STEPS, STEPS]


def test_parts_arrive_in_any_order_again_and_overlapping(call):
    send = Sender(call, "r1")
    record = records()[0][1]
    assert send(cut(record, 30, 40), first_unit=30, seq=8).json()["accepted"] == 0
    assert send(cut(record, 0, 10), first_unit=0, seq=9).json()["accepted"] == 0
    assert send(cut(record, 0, 10), first_unit=0, seq=9).json()["duplicate"]
    assert send(cut(record, 0, 20), first_unit=0, seq=10).json()["accepted"] == 0
    assert send(cut(record, 15, 35), first_unit=15, seq=11).json()["accepted"] == 1
    units = call("GET", "/v1/runs/r1/layers/1/units").json()
    whole = Sender(call, "r2")
    whole(record)
    assert units == call("GET", "/v1/runs/r2/layers/1/units").json()


def test_a_part_of_a_layer_that_was_never_described_asks_for_its_description(call):
    send = Sender(call, "r1")
    record = records()[0][1]
    answer = send(cut(record, 0, 20), first_unit=0, layers=[])
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_layer")
    assert send(cut(record, 0, 20), first_unit=0, seq=2).status_code == 202


def refusals():
    run_record, record = records()[0]
    return {
        "beyond the layer": (cut(record, 0, 20), 21, "unit_count_mismatch"),
        "a part of the run's record": (run_record, 0, "invalid_upload"),
        "without units": ({"layer_id": 1, "first_step": 1, "step": 1}, 0, "invalid_upload"),
        "not a number": (cut(record, 0, 20), -1, "invalid_upload"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_is_no_part_of_a_record_is_refused(name, call):
    part, first_unit, code = refusals()[name]
    answer = Sender(call, "r1")(part, first_unit=first_unit)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert call("GET", "/v1/runs/r1").status_code == 404


def test_a_part_comes_alone(call):
    (run_record, record), *_ = records()
    answer = Sender(call, "r1")(run_record, cut(record, 0, 20), first_unit=0)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_upload")


def test_parts_with_different_columns_are_refused_and_the_record_can_still_be_completed(call):
    send = Sender(call, "r1")
    record = records()[0][1]
    send(cut(record, 0, 20), first_unit=0)
    other = cut(record, 20, 40)
    del other["mean"]
    answer = send(other, first_unit=20)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_upload")
    assert send(cut(record, 20, 40), first_unit=20).json()["accepted"] == 1


def test_what_a_run_never_completes_is_bounded_and_deleted_with_it(call, database):
    send = Sender(call, "r1")
    for step in range(1, 3 * record_parts.MAX_UNFINISHED):
        part = cut(records()[0][1], 0, 20) | {"first_step": step, "step": step}
        assert send(part, first_unit=0).json()["accepted"] == 0
    with database.read() as connection:
        steps = sorted(row.step for row in connection.execute(tables.record_parts.select()))
    assert steps == list(range(2 * record_parts.MAX_UNFINISHED, 3 * record_parts.MAX_UNFINISHED))
    call("DELETE", "/v1/runs/r1")
    with database.read() as connection:
        assert not connection.execute(tables.record_parts.select()).all()
