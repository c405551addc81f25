"""The whole road: what an upload found, told to receivers, together and in order."""

from __future__ import annotations

import json

import pytest
from live_server import caller

from relumine_server.app import create_app
from relumine_server.settings import Settings

LAYERS, UNITS = 2_000, 2


@pytest.fixture
def call(desk):
    return caller(create_app(Settings(), store=desk.store, clock=desk.clock))


def look(seq, layers=LAYERS, closing=None):
    """A look at all layers, none of which is active on any of 100 examples."""
    ids = range(1, layers + 1)
    described = [{"layer_id": i, "name": f"act{i}", "units": UNITS} for i in ids] if seq == 1 else []
    seen = {"first_step": seq, "step": seq, "n_examples": 100, "active": [0] * UNITS}
    records = [{"layer_id": i, **seen} for i in ids]
    run = {"id": "r1", "project": "digits"}
    return {"run": run, "session": "s1", "seq": seq, "layers": described, "records": records, "closing": closing}


def told(receiver):
    return [(one["type"], one["data"]["total"]) for one in (json.loads(body) for _, body in receiver.got)]


def test_all_layers_lost_at_once_and_the_end_of_their_run_are_three_notifications(desk, call, receiver, another):
    for one in (receiver, another):
        desk.add(one.url)
    for seq in (1, 2, 3):
        assert call("POST", "/v1/uploads", json=look(seq)).status_code == 202
    assert [(row.event, row.alerts) for row in desk.rows()] == [("alert.firing", LAYERS)] * 2
    desk.send()
    assert call("POST", "/v1/uploads", json=look(4, closing="finished")).status_code == 202
    assert desk.send(seconds=29) == 0
    desk.send(seconds=1)
    for one in (receiver, another):
        assert told(one) == [("alert.firing", LAYERS), ("alert.resolved", LAYERS), ("run.finished", 0)]
        assert 20 >= len(json.loads(one.got[0][1])["data"]["alerts"]) > 10
        assert max(len(body) for _, body in one.got) < 20_000
    summary = json.loads(receiver.got[-1][1])["data"]["summary"]
    assert (summary["run_id"], summary["state"], summary["alerts"]["critical"]) == ("r1", "finished", LAYERS)


def test_the_end_of_a_healthy_run_is_told_at_once_to_those_who_asked(desk, call, receiver, another):
    desk.add(receiver.url, events=["run.finished"], severity="critical")
    desk.add(another.url, events=["alert.firing"])
    body = look(1, layers=1, closing="finished")
    body["records"][0]["active"] = [50] * UNITS
    assert call("POST", "/v1/uploads", json=body).status_code == 202
    desk.send()
    assert (told(receiver), told(another)) == ([("run.finished", 0)], [])


def test_the_end_of_a_run_that_was_deleted_is_not_told(desk, call, receiver):
    desk.add(receiver.url)
    assert call("POST", "/v1/uploads", json=look(1, layers=1, closing="failed")).status_code == 202
    assert call("DELETE", "/v1/runs/r1").status_code == 204
    assert desk.send() == 0
    assert desk.rows() == []
