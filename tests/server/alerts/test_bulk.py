"""Thousands of layers that die in one step: one notification, all alerts in the API, and no query for each alert."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from relumine_server.webhooks import run_summary
from tests.helpers.alert_harness import finding

LAYERS, UNITS = 3_000, 2  # a row of each in one statement would be more parameters than SQLite and Postgres allow


def upload(seq, final_status=None):
    """Return an upload of a step in which no layer is active on any of 100 examples; the first describes layers."""
    ids = range(1, LAYERS + 1)
    layers = [{"layer_id": i, "name": f"act{i}", "units": UNITS} for i in ids] if seq == 1 else []
    step = {"first_step": seq, "step": seq, "n_examples": 100, "active": [0] * UNITS}
    records = [{"layer_id": i, **step} for i in ids] if seq > 1 else []
    run = {"id": "r1", "project": "digits"}
    return {"run": run, "session": "s1", "seq": seq, "layers": layers, "records": records, "final_status": final_status}


def list_alert_ids(harness, **filters):
    """Return the ids of all alerts that the API lists, page by page."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    alert_ids, cursor = [], ""
    while cursor is not None:
        page = harness.call("GET", f"/v1/alerts?limit=200&{query}{cursor and f'&cursor={cursor}'}").json()
        alert_ids += [alert["id"] for alert in page["items"]]
        cursor = page["next_cursor"]
    return alert_ids


def test_thousands_of_layers_lost_at_once_are_one_notification_and_all_in_the_api(harness):
    harness.findings = None
    answers = [harness.call("POST", "/v1/uploads", json=upload(seq)).json() for seq in (1, 2, 3, 4)]
    assert [len(answer["alerts"]) for answer in answers] == [0, 0, 0, 200]
    ids = {f"r1.{layer_id}.born_dead" for layer_id in range(1, LAYERS + 1)}
    ((event, alerts),) = harness.notifications
    assert event == "alert.firing"
    assert {alert_id for alert_id, _ in alerts} == ids
    assert len(alerts) == len(ids)
    firing = list_alert_ids(harness, run_id="r1", state="firing", severity="critical")
    assert (len(firing), set(firing)) == (LAYERS, ids)
    assert harness.call("GET", "/v1/runs/r1").json()["open_alerts"] == LAYERS
    assert len(harness.call("GET", "/v1/runs/r1/overview").json()["alerts"]) == 200
    assert harness.wait(minutes=1) == 0
    harness.notifications.clear()
    response = harness.call("POST", "/v1/uploads", json=upload(5, final_status="finished")).json()
    assert (len(response["alerts"]), {alert["state"] for alert in response["alerts"]}) == (200, {"ended"})
    assert [(event, len(alerts)) for event, alerts in harness.notifications] == [("run.finished", 0)]
    with harness.database.read() as connection:
        summary = run_summary.summarize(connection, "r1", "http://x")
    assert (len(summary.dead_layers), summary.alert_counts["critical"], summary.layers) == (LAYERS, LAYERS, LAYERS)
    assert len(summary.ended_alerts) == 20
    assert harness.states(layer_id=LAYERS, kind="born_dead") == ["firing", "ended"]


@pytest.mark.parametrize("inhibited", [False, True])
def test_hundreds_of_alerts_take_as_many_statements_as_ten(harness, inhibited):
    counts = []
    for number, layers in enumerate((10, 300)):
        run = f"r{number}"
        first = finding(1, "dead", severity="critical")
        others = [finding(i, upstream=[1] if inhibited else ()) for i in range(2, layers + 1)]
        resolved = [finding(i, transition="resolved") for i in range(2, layers + 1)]
        harness.upload(run=run, layers=layers)
        counts.append([_statements(harness, run, findings) for findings in ([first, *others], resolved, others)])
    assert counts[0] == counts[1]


def _statements(harness, run, findings):
    executed = []

    def record(*arguments):
        executed.append(arguments[2])

    engine = harness.database.writing_engine
    sa.event.listen(engine, "before_cursor_execute", record)
    harness.upload(*findings, run=run)
    sa.event.remove(engine, "before_cursor_execute", record)
    return len(executed)
