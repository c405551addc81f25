"""The API of runs: downsampling keeps extremes, lists are complete, deletion leaves nothing."""

from __future__ import annotations

from sqlalchemy import func, select

from relumine_server.db import types as db_types
from relumine_server.timeseries import compaction, logged_metrics

UNITS = 4


def upload(run="r1", seq=1, steps=range(1, 301), session="s1", peak=150, **fields):
    records = [
        {
            "layer_id": 1,
            "first_step": step,
            "step": step,
            "n_examples": 64,
            "weight_norm": 9.0 if step == peak else 1.0,
            "active": [30] * UNITS,
        }
        for step in steps
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    return {
        "run": {"id": run, "project": "p"},
        "session": session,
        "seq": seq,
        "layers": layers,
        "records": records,
        **fields,
    }


def test_downsampling_keeps_the_extremes(call):
    call("POST", "/v1/uploads", json=upload(peak=155))
    series = call("GET", "/v1/runs/r1/layers/1/series?statistics=weight_norm&points=10").json()
    norms = series["statistics"]["weight_norm"]
    assert len(series["step"]) == 10
    assert series["step"][-1] == 300
    assert max(norms["max"]) == 9.0
    assert norms["last"] == [1.0] * 10
    part = call("GET", "/v1/runs/r1/layers/1/series?statistics=weight_norm&from_step=155&to_step=155").json()
    assert part["statistics"]["weight_norm"]["last"] == [9.0]


def test_of_a_step_in_two_sessions_the_newer_is_shown(call):
    call("POST", "/v1/uploads", json=upload(steps=range(1, 21), peak=0))
    call("POST", "/v1/uploads", json=upload(steps=range(10, 31), session="s2", peak=12))
    norms = call("GET", "/v1/runs/r1/layers/1/series?statistics=weight_norm").json()
    assert norms["step"] == list(range(1, 31))
    assert norms["statistics"]["weight_norm"]["last"][11] == 9.0


def test_units_are_those_at_or_before_the_step(call):
    call("POST", "/v1/uploads", json=upload(steps=[5, 15]))
    assert call("GET", "/v1/runs/r1/layers/1/units").json()["step"] == 15
    assert call("GET", "/v1/runs/r1/layers/1/units?step=14").json()["step"] == 5
    assert call("GET", "/v1/runs/r1/layers/1/units?step=4").json()["code"] == "units_not_found"
    assert call("GET", "/v1/runs/r1/layers/7/units").json()["code"] == "layer_not_found"


def test_the_overview_returns_only_new_steps_and_304_if_nothing_changed(call):
    call("POST", "/v1/uploads", json=upload(steps=range(1, 11)))
    first = call("GET", "/v1/runs/r1/overview")
    assert first.json()["last_step"] == 10
    again = call("GET", "/v1/runs/r1/overview", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    call("POST", "/v1/uploads", json=upload(seq=2, steps=range(11, 16)))
    more = call("GET", "/v1/runs/r1/overview?after_step=10")
    assert more.json()["traces"][0]["step"] == [11, 12, 13, 14, 15]
    assert more.headers["etag"] != first.headers["etag"]


def test_pages_show_every_run_once(call):
    for number in range(7):
        call("POST", "/v1/uploads", json=upload(run=f"r{number}", steps=[1]))
    run_ids = []
    cursor = None
    while True:
        query = {"limit": 3, "cursor": cursor} if cursor else {"limit": 3}
        page = call("GET", "/v1/runs", params=query).json()
        run_ids += [run["run_id"] for run in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(run_ids) == [f"r{number}" for number in range(7)]
    assert call("GET", "/v1/runs?project=none").json()["items"] == []
    (project,) = call("GET", "/v1/projects").json()["items"]
    assert (project["runs"], sum(project["health_counts"].values())) == (7, 7)


def test_alerts_are_filtered_acknowledged_and_resolved_once(call):
    dead = [{**r, "active": [0] * UNITS} for r in upload()["records"][:10]]
    alerts = call("POST", "/v1/uploads", json={**upload(), "records": dead}).json()["alerts"]
    assert [alert["kind"] for alert in alerts] == ["born_dead"]
    path = f"/v1/alerts/{alerts[0]['id']}"
    assert call("GET", path).json() == {**alerts[0], "remedy_outcomes": []}
    assert len(call("GET", "/v1/alerts?run_id=r1&state=firing").json()["items"]) == 1
    assert call("GET", "/v1/alerts?severity=info&project=other").json()["items"] == []
    note = {"author": "Ada", "note": "on it"}
    assert call("POST", f"{path}/acknowledge", json=note).json()["state"] == "acknowledged"
    assert call("POST", f"{path}/resolve", json=note).json()["resolved_reason"] == "by Ada: on it"
    answer = call("POST", f"{path}/acknowledge", json=note)
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_resolved")


def test_a_run_is_renamed_tagged_and_ended(call):
    call("POST", "/v1/uploads", json=upload(steps=[1]))
    run = call("PATCH", "/v1/runs/r1", json={"name": "new", "tags": ["a"], "status": "failed"}).json()
    assert (run["name"], run["tags"], run["status"]) == ("new", ["a"], "failed")
    assert run["finished_at"].endswith("Z")


def test_the_last_upload_ends_the_run_and_a_new_session_resumes_it(call):
    call("POST", "/v1/uploads", json=upload(steps=[1], final_status="finished"))
    assert call("GET", "/v1/runs/r1").json()["status"] == "finished"
    call("POST", "/v1/uploads", json=upload(steps=[2], session="s2"))
    assert call("GET", "/v1/runs/r1").json()["status"] == "running"


def test_metrics_and_the_export_hold_what_was_sent(call):
    logged = [{"step": 1, "name": "loss", "value": 0.5}, {"step": 2, "name": "loss", "value": 0.25}]
    call("POST", "/v1/uploads", json=upload(steps=[1, 2], metrics=logged, peak=2))
    loss = call("GET", "/v1/runs/r1/metrics").json()["metrics"]["loss"]
    assert loss == [{"step": 1, "value": 0.5}, {"step": 2, "value": 0.25}]
    lines = call("GET", "/v1/runs/r1/export?format=csv").text.splitlines()
    assert lines[0] == "layer_id,layer,step,statistic,value"
    assert "1,act1,2,weight_norm,9.0" in lines


def test_the_metrics_of_a_long_run_come_in_pages(call, monkeypatch):
    monkeypatch.setattr(logged_metrics, "MAX_ROWS", 3)
    for seq in range(1, 11):
        logged = [{"step": step, "name": "loss", "value": step / 2} for step in (2 * seq, 2 * seq + 1)]
        call("POST", "/v1/uploads", json=upload(seq=seq, steps=[seq], metrics=logged))
    points = []
    cursor = None
    while True:
        page = call("GET", "/v1/runs/r1/metrics", params={"cursor": cursor} if cursor else {}).json()
        points += [(point["step"], point["value"]) for point in page["metrics"]["loss"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert points == [(step, step / 2) for step in range(2, 22)]
    for invalid in ("x", "bnVsbA==", "Wy0xXQ==", "W3RydWVd", "Nw=="):
        assert call("GET", "/v1/runs/r1/metrics", params={"cursor": invalid}).json()["code"] == "invalid_cursor"


def test_deleting_a_run_leaves_no_row_of_it(app, call):
    call("POST", "/v1/webhooks", json={"url": "https://example.org/hook"})
    dead = [{**r, "active": [0] * UNITS} for r in upload()["records"][:10]]
    logged = [{"step": 1, "name": "loss", "value": 0.5}]
    call("POST", "/v1/uploads", json={**upload(metrics=logged), "records": dead})
    assert call("DELETE", "/v1/runs/r1").status_code == 204
    assert call("GET", "/v1/runs/r1").status_code == 404
    with app.state.services.database.read() as connection:
        for table in db_types.metadata.sorted_tables:
            if table.name not in ("projects", "webhooks", "webhook_leases"):
                assert connection.scalar(select(func.count()).select_from(table)) == 0, table.name


def test_a_webhook_shows_its_secret_once_and_invalid_ones_are_refused(call):
    created = call("POST", "/v1/webhooks", json={"url": "https://example.org/hook"})
    assert created.status_code == 201
    assert created.json()["secret"].startswith("whsec_")
    assert call("GET", "/v1/webhooks").json()["items"][0]["secret"] is None
    invalid = ["ftp://x", "http://127.0.0.1/x", "https://10.0.0.1/", "https://a:b@example.org", "https://" + "a" * 5000]
    for url in invalid:
        answer = call("POST", "/v1/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_webhook")
    wrong = call("POST", "/v1/webhooks", json={"url": "https://example.org", "events": ["nothing"]})
    assert wrong.status_code == 422
    path = f"/v1/webhooks/{created.json()['webhook_id']}"
    assert call("PATCH", path, json={"enabled": False}).json()["enabled"] is False
    assert call("POST", f"{path}/test").json()["code"] == "webhook_disabled"
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).json()["code"] == "webhook_not_found"


def test_coverage_is_stored_with_the_run_and_with_each_layer(call):
    coverage = {
        "watched": 1,
        "units": UNITS,
        "cannot_die": 2,
        "unused": ["spare"],
        "unseen": {"rnn.relu": "not observed: …"},
        "left_out": {"loss.relu": "left out: …"},
        "remarks": ["compiled: …"],
    }
    body = upload(steps=[1], coverage=coverage)
    body["layers"][0] |= {"sampled_share": 0.1, "missing": ["shares: a sum of several layers"], "split": "residual"}
    assert call("GET", "/v1/runs/r1").status_code == 404
    call("POST", "/v1/uploads", json=body)
    call("POST", "/v1/uploads", json=upload(seq=2, steps=[2]))
    assert call("GET", "/v1/runs/r1").json()["coverage"] == coverage
    (layer,) = call("GET", "/v1/runs/r1/layers").json()["items"]
    assert layer["name"] == "act1"


def test_a_layer_without_data_raises_no_data_and_recovers(call):
    call("POST", "/v1/uploads", json=upload(steps=range(1, 20)))
    silent = {"layer_id": 1, "first_step": 25, "step": 25}
    answer = call("POST", "/v1/uploads", json=upload(seq=2) | {"records": [silent]}).json()
    assert [(a["kind"], a["state"], a["severity"]) for a in answer["alerts"]] == [("no_data", "pending", "warning")]
    answer = call("POST", "/v1/uploads", json=upload(seq=3, steps=[30])).json()
    assert [(a["kind"], a["state"]) for a in answer["alerts"]] == [("no_data", "resolved")]


def layer_states(call):
    return [(layer["state"], layer["last_step"]) for layer in call("GET", "/v1/runs/r1/layers").json()["items"]]


def test_a_layer_shows_its_last_reading_whatever_follows(app, call):
    call("POST", "/v1/uploads", json=upload(steps=[1, 2, 3]))
    silent = {"layer_id": 1, "first_step": 5, "step": 5}
    of_run = {"layer_id": 0, "first_step": 5, "step": 5, "n_examples": 64, "loss": 1.0}
    call("POST", "/v1/uploads", json=upload(seq=2, final_status="finished") | {"records": [of_run, silent]})
    assert layer_states(call) == [("healthy", 3)]
    while app.state.services.database.write(lambda c: compaction.compact(c, "r1")):
        pass
    assert layer_states(call) == [("healthy", 3)]


def test_a_late_end_of_an_older_session_does_not_end_the_run(call):
    call("POST", "/v1/uploads", json=upload(steps=[1]))
    call("POST", "/v1/uploads", json=upload(steps=[2], session="s2"))
    call("POST", "/v1/uploads", json=upload(seq=2, steps=[3], final_status="failed"))
    run = call("GET", "/v1/runs/r1").json()
    assert (run["status"], run["finished_at"]) == ("running", None)


def test_sessions_are_ordered_by_their_bytes_on_both_databases(call):
    call("POST", "/v1/uploads", json=upload(steps=range(1, 11), session="B", peak=0))
    call("POST", "/v1/uploads", json=upload(steps=range(5, 8), session="a", peak=6))
    norms = call("GET", "/v1/runs/r1/layers/1/series?statistics=weight_norm").json()
    assert norms["step"] == [1, 2, 3, 4, 5, 6, 7]
    assert max(norms["statistics"]["weight_norm"]["max"]) == 9.0


def test_steps_out_of_the_order_of_uploads_are_read_in_order(call):
    call("POST", "/v1/uploads", json=upload(steps=[1, 2, 3]))
    call("POST", "/v1/uploads", json=upload(seq=3, steps=[4, 5, 6]))
    call("POST", "/v1/uploads", json=upload(seq=2, steps=[10, 11, 12]))
    for first, steps in ((0, [1, 2, 3, 4, 5, 6, 10, 11, 12]), (5, [5, 6, 10, 11, 12]), (10, [10, 11, 12])):
        assert call("GET", f"/v1/runs/r1/layers/1/series?from_step={first}").json()["step"] == steps


def test_of_a_step_sent_twice_the_later_upload_is_shown(call):
    call("POST", "/v1/uploads", json=upload(steps=[1, 2, 3], peak=3))
    call("POST", "/v1/uploads", json=upload(seq=2, steps=[3, 4], peak=0))
    norms = call("GET", "/v1/runs/r1/layers/1/series?statistics=weight_norm").json()
    assert (norms["step"], norms["statistics"]["weight_norm"]["last"]) == ([1, 2, 3, 4], [1.0] * 4)
