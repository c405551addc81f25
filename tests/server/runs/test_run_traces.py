"""Traces for lists of runs: bounded, in the order of steps, the worst layer, and never of another project."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.timeseries import run_trace

UNITS = 10


def send(call, run="r", *, seq=1, steps=range(1, 11), dead=(0, 0), session="s1", **fields):
    """Send records of two layers, of which so many units are never active."""
    records = []
    for step in steps:
        for layer_id, count in enumerate(dead, 1):
            active = [0] * count + [50] * (UNITS - count)
            records.append(
                {"layer_id": layer_id, "first_step": step, "step": step, "n_examples": 500, "active": active}
            )
    body = {
        "run": {"id": run, "project": "p"},
        "session": session,
        "seq": seq,
        "layers": [{"layer_id": number, "name": f"act{number}", "units": UNITS} for number in (1, 2)],
        "records": records,
        **fields,
    }
    response = call("POST", "/v1/uploads", json=body)
    assert response.status_code == 202, response.text


def traces(call, *run_ids, **options):
    """Return the traces of runs by id."""
    response = call("GET", "/v1/run-traces", params={"run_ids": ",".join(run_ids)}, **options)
    assert response.status_code == 200, response.text
    return {item.pop("run_id"): item for item in response.json()["items"]}


def test_a_trace_has_the_lost_share_of_the_worst_layer_and_the_loss_at_its_steps(call):
    logged = [{"step": step, "name": "loss", "value": 10.0 - step} for step in (2, 4)]
    send(call, steps=range(1, 6), dead=(2, 5), metrics=logged)
    trace = traces(call, "r")["r"]
    assert trace["step"] == [1, 2, 3, 4, 5]
    assert trace["lost_fraction"][-1] == 0.5
    assert trace["loss"] == [None, 8.0, 8.0, 6.0, 6.0]


def test_the_loss_of_records_comes_before_the_logged_one(call):
    run_records = [{"layer_id": 0, "first_step": 1, "step": 1, "loss": 0.5}]
    record = {"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 500, "active": [5] * UNITS}
    send(call, records=[*run_records, record], metrics=[{"step": 1, "name": "loss", "value": 9.0}])
    assert traces(call, "r")["r"]["loss"] == [0.5]


def test_a_long_run_has_at_most_48_points_of_all_its_steps_and_a_short_peak_stays(call):
    for seq in range(1, 41):
        dead = (0, 7) if seq == 20 else (0, 0)
        send(call, seq=seq, steps=range(25 * seq, 25 * seq + 25), dead=dead)
    trace = traces(call, "r")["r"]
    assert 24 <= len(trace["step"]) <= run_trace.POINTS
    assert trace["step"] == sorted(set(trace["step"]))
    assert (trace["step"][0] < 100, trace["step"][-1]) == (True, 1024)
    gaps = np.diff(trace["step"])
    assert gaps.max() <= 4 * np.median(gaps)
    assert max(trace["lost_fraction"]) == pytest.approx(0.7)


def test_a_resumed_run_is_traced_from_the_step_at_which_it_went_on(call):
    send(call, steps=range(1, 31), dead=(0, 6))
    send(call, steps=range(11, 21), session="s2")
    trace = traces(call, "r")["r"]
    assert trace["step"] == list(range(1, 21))
    send(call, steps=range(31, 41), seq=2)  # the older training goes on
    assert traces(call, "r")["r"] == trace


def test_runs_that_are_not_there_are_left_out_and_the_order_is_that_of_the_ids(call):
    for run in ("b", "a", "c"):
        send(call, run)
    call("DELETE", "/v1/runs/c")
    call("POST", "/v1/uploads", json={"run": {"id": "empty"}, "session": "s", "seq": 1})
    listed = traces(call, "b", "none", "a", "c", "b", "empty")
    assert list(listed) == ["b", "a", "empty"]
    assert listed["empty"] == {"step": [], "lost_fraction": [], "loss": []}


@pytest.mark.parametrize("run_ids", ["", "a,", "a,,b", "a b", ",".join(["a"] * 101)])
def test_ids_that_are_malformed_or_too_many_are_refused(run_ids, call):
    assert call("GET", "/v1/run-traces", params={"run_ids": run_ids}).json()["code"] == "invalid_request"


def test_a_hundred_ids_of_the_greatest_length_are_read_by_a_single_statement(call, database):
    ids = [f"r{number:03}".ljust(64, "x") for number in range(100)]
    send(call, ids[7])
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    assert list(traces(call, *ids)) == [ids[7]]
    sa.event.remove(database.engine, "before_cursor_execute", note)
    assert len([statement for statement in statements if "runs" in statement]) == 1


def test_a_key_of_one_project_sees_its_own_traces_only(server):
    headers = {"authorization": f"Bearer {server.keys['ours read']}"}
    assert list(traces(server.send, "run-ours", "run-theirs", headers=headers)) == ["run-ours"]


def test_a_damaged_trace_is_an_empty_one_and_goes_on(call, database):
    send(call)
    database.write(lambda connection: connection.execute(sa.update(tables.runs).values(trace=b"x")))
    assert traces(call, "r")["r"]["step"] == []
    send(call, seq=2, steps=range(11, 13))
    assert traces(call, "r")["r"]["step"] == [11, 12]
