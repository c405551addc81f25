"""Ten thousand layers lost in one step: one telling, everything in the API, nothing lost, no query for each."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alert_world import found

from relumine_server.storage import summary

LAYERS, UNITS = 10_000, 2


def look(seq, closing=None):
    """A look at all layers, none of which is active on any of 100 examples; the first upload but describes them."""
    ids = range(1, LAYERS + 1)
    layers = [{"layer_id": i, "name": f"act{i}", "units": UNITS} for i in ids] if seq == 1 else []
    seen = {"first_step": seq, "step": seq, "n_examples": 100, "active": [0] * UNITS}
    records = [{"layer_id": i, **seen} for i in ids] if seq > 1 else []
    run = {"id": "r1", "project": "digits"}
    return {"run": run, "session": "s1", "seq": seq, "layers": layers, "records": records, "closing": closing}


def everything(world, **filters):
    """All alerts of the API, page by page."""
    query, found_ids, cursor = "&".join(f"{name}={value}" for name, value in filters.items()), [], ""
    while cursor is not None:
        page = world.call("GET", f"/v1/alerts?limit=200&{query}{cursor and f'&cursor={cursor}'}").json()
        found_ids += [alert["id"] for alert in page["items"]]
        cursor = page["next_cursor"]
    return found_ids


def test_ten_thousand_layers_lost_at_once_are_one_telling_and_all_in_the_api(world):
    world.findings = None
    answers = [world.call("POST", "/v1/uploads", json=look(seq)).json() for seq in (1, 2, 3, 4)]
    assert [len(answer["alerts"]) for answer in answers] == [0, 0, 0, 200]
    ids = {f"r1.{layer_id}.born_dead" for layer_id in range(1, LAYERS + 1)}
    ((event, told),) = world.told
    assert event == "alert.firing"
    assert {alert_id for alert_id, _ in told} == ids
    assert len(told) == len(ids)
    firing = everything(world, run_id="r1", state="firing", severity="critical")
    assert (len(firing), set(firing)) == (LAYERS, ids)
    assert world.call("GET", "/v1/runs/r1").json()["open_alerts"] == LAYERS
    assert len(world.call("GET", "/v1/runs/r1/overview").json()["alerts"]) == 200
    assert world.move(minutes=1) == 0
    world.told.clear()
    closed = world.call("POST", "/v1/uploads", json=look(5, closing="finished")).json()
    assert (len(closed["alerts"]), {alert["state"] for alert in closed["alerts"]}) == (200, {"resolved"})
    assert [(event, len(told)) for event, told in world.told] == [("alert.resolved", LAYERS), ("run.finished", 0)]
    with world.store.read() as connection:
        ended = summary.of(connection, "r1", "http://x")
    assert (len(ended.lost), ended.alerts["critical"], len(ended.worst), ended.layers) == (LAYERS, LAYERS, 5, LAYERS)
    assert world.states(layer_id=LAYERS, kind="born_dead") == ["firing", "resolved"]


@pytest.mark.parametrize("muted", [False, True])
def test_a_thousand_alerts_take_as_many_statements_as_ten(world, muted):
    counts = []
    for number, layers in enumerate((10, 1000)):
        run = f"r{number}"
        first = found(1, "dead", severity="critical")
        others = [found(i, upstream=[1] if muted else ()) for i in range(2, layers + 1)]
        gone = [found(i, transition="resolved") for i in range(2, layers + 1)]
        world.upload(run=run, layers=layers)
        counts.append([_statements(world, run, said) for said in ([first, *others], gone, others)])
    assert counts[0] == counts[1]


def _statements(world, run, said):
    executed = []

    def note(*given):
        executed.append(given[2])

    engine = world.store.writing_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    world.upload(*said, run=run)
    sa.event.remove(engine, "before_cursor_execute", note)
    return len(executed)
