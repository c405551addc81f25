"""A backtest reports what two policies would have raised on stored runs, and where it is inexact; it writes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, update

import relumine
from relumine.schemas.policy import RaisedProblem
from relumine.schemas.record import Record
from relumine.schemas.record_table import RecordTable
from relumine_server.db import tables
from relumine_server.db import types as db_types
from relumine_server.detection import detector
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import RunReplay
from relumine_server.policies import backtest
from relumine_server.runs import retention
from relumine_server.runs.retention import OverfullRun, Retention
from relumine_server.timeseries import compaction, replay
from tests.helpers.live_server import listening

UNITS = 32
N = 64
STEPS = 40
INSENSITIVE = {"born_dead_layer": 1.0}
"""Thresholds under which a layer with one active unit is not born dead."""

SLOW = {"born_dead_examples": 20 * N}


def step_of(number):
    return 10 * number + 1


def sampled_steps(count=STEPS, *, units=UNITS, alive=1, dies_at=0):
    """Records of a layer of which only ``alive`` units are active from sampled step ``dies_at`` on."""
    rng = np.random.default_rng(5)
    silent = np.zeros(units, int)
    for number in range(count):
        active = rng.binomial(N, 0.3, units)
        if number >= dies_at:
            active[alive:] = 0
        silent = np.where(active > 0, 0, silent + N)
        yield {
            "layer_id": 1, "first_step": step_of(number), "step": step_of(number), "n_examples": N, "n_positions": N,
            "active": active.tolist(), "silent": silent.tolist(),
        }  # fmt: skip


def train(call, run="r1", project="p", *, records=None, per_upload=10, session="s1", units=UNITS):
    """Send the uploads of a finished run; returns its alerts."""
    records = list(sampled_steps() if records is None else records)
    parts = [records[start : start + per_upload] for start in range(0, len(records), per_upload)]
    for seq, part in enumerate(parts, start=1):
        body = {"run": {"id": run, "project": project}, "session": session, "seq": seq, "records": part}
        if seq == 1:
            body["layers"] = [{"layer_id": 1, "name": "act1", "units": units}]
        if seq == len(parts):
            body["final_status"] = "finished"
        assert call("POST", "/v1/uploads", json=body).status_code == 202
    return call("GET", "/v1/alerts", params={"run_id": run}).json()["items"]


def compare(call, proposed=INSENSITIVE, project="p", **options):
    answer = call("POST", "/v1/policy/backtest", json={"project": project, "thresholds": proposed, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def run_ids(answer):
    return [run["run_id"] for run in answer["runs"]]


@pytest.mark.parametrize("dies_at", [0, 25])
def test_the_policy_in_force_would_have_raised_what_it_raised(call, dies_at):
    alerts = train(call, records=sampled_steps(dies_at=dies_at))
    assert alerts
    answer = compare(call)
    (run,) = answer["runs"]
    assert (run["run_id"], run["records"], run["exact"], run["complete"]) == ("r1", STEPS, True, True)
    problems = {
        (problem["layer_id"], problem["layer"], problem["kind"], *problem["in_force"].values())
        for problem in run["problems"]
    }
    raised = ("layer_id", "layer", "kind", "opened_step", "dead_step", "severity")
    assert problems == {tuple(alert[name] for name in raised) for alert in alerts}
    assert (answer["project"], answer["in_force"], answer["proposed"]) == ("p", {}, INSENSITIVE)
    assert (answer["left_out"], answer["more_runs"]) == ([], False)


NONE = dict.fromkeys(("in_force", "proposed", "only_in_force", "only_proposed", "same_step", "earlier", "later"), 0)


def test_totals_count_what_only_one_policy_raised(call):
    train(call)
    train(call, "r2")
    assert compare(call)["totals"] == NONE | {"in_force": 2, "only_in_force": 2}
    assert compare(call, {})["totals"] == NONE | {"in_force": 2, "proposed": 2, "same_step": 2}
    call("PUT", "/v1/projects/p/policy", json={"thresholds": INSENSITIVE})
    answer = compare(call, {})
    assert answer["totals"] == NONE | {"proposed": 2, "only_proposed": 2}
    assert (answer["in_force"], answer["proposed"]) == (INSENSITIVE, {})


def test_totals_count_what_was_raised_earlier_and_later(call):
    train(call)
    answer = compare(call, SLOW)
    assert answer["totals"] == NONE | {"in_force": 1, "proposed": 1, "later": 1}
    (born_dead,) = answer["runs"][0]["problems"]
    assert (born_dead["in_force"]["first_step"], born_dead["proposed"]["first_step"]) == (step_of(3), step_of(19))
    call("PUT", "/v1/projects/p/policy", json={"thresholds": SLOW})
    assert compare(call, {})["totals"] == NONE | {"in_force": 1, "proposed": 1, "earlier": 1}


def test_each_policy_has_its_own_severity(call):
    train(call)
    (run,) = compare(call, {"born_dead_critical": 1.0})["runs"]
    (born_dead,) = run["problems"]
    assert (born_dead["in_force"]["severity"], born_dead["proposed"]["severity"]) == ("critical", "warning")


def test_of_a_problem_the_first_step_and_the_highest_severity_count(monkeypatch):
    history = [("raised", "warning", 5), ("changed", "critical", 7), ("resolved", "critical", 8), ("raised", "info", 9)]
    finding = Finding(1, "a", "dying", "raised", "info", cause="unknown", confidence=0.0, step=0)
    findings = [replace(finding, transition=name, severity=severity, step=step) for name, severity, step in history]
    monkeypatch.setattr(detector, "advance", lambda state, records, policy: (state, [], findings))
    replayed = backtest.PolicyReplay(RunReplay([], Policy()))
    records = RecordTable.from_records([Record(layer_id=0, first_step=1, step=1, n_examples=1)])
    replayed.advance("s1", records)
    assert replayed.raised == {(1, "dying"): RaisedProblem(first_step=5, dead_step=None, severity="critical")}


def all_rows(database):
    with database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in db_types.metadata.sorted_tables
        }


def test_nothing_is_written(app, call):
    train(call)
    rows = all_rows(app.state.services.database)
    compare(call)
    assert all_rows(app.state.services.database) == rows


def test_no_transaction_is_open_while_it_computes(app, call, monkeypatch):
    train(call, per_upload=5)
    advance = detector.advance
    open_connections = []

    def watched(*arguments):
        open_connections.append(app.state.services.database.engine.pool.checkedout())
        return advance(*arguments)

    monkeypatch.setattr(detector, "advance", watched)
    compare(call)
    assert open_connections == [0] * (2 * STEPS // 5)


@pytest.mark.parametrize("limit", ["PAGE_UPLOADS", "PAGE_BYTES"])
def test_the_size_of_a_page_changes_nothing(call, monkeypatch, limit):
    train(call, per_upload=5)
    answer = compare(call, SLOW)
    monkeypatch.setattr(replay, limit, 1)
    assert compare(call, SLOW) == answer


def test_compaction_changes_nothing(app, call):
    train(call)
    answer = compare(call)
    while app.state.services.database.write(lambda c: compaction.compact(c, "r1")):
        pass
    with app.state.services.database.read() as connection:
        assert connection.execute(select(tables.chunks.c.run_id)).first()
    assert compare(call) == answer


def test_a_thinned_run_is_reported_as_inexact(app, call):
    train(call, records=sampled_steps(200, alive=UNITS))
    train(call, "r2")
    thinned = OverfullRun("r1", Retention(unit_stats_bytes_per_run=0, unit_stats_keep_every=10))
    while app.state.services.database.write(lambda c: retention.thin(c, thinned)):
        pass
    assert {run["run_id"]: run["exact"] for run in compare(call)["runs"]} == {"r1": False, "r2": True}


def test_a_run_whose_layer_changed_its_units_is_reported_as_inexact(call):
    train(call, records=sampled_steps(units=8), units=8)
    train(call, session="s2")
    (run,) = compare(call)["runs"]
    assert (run["exact"], run["complete"], run["records"]) == (False, True, 2 * STEPS)


def set_ages(app, *runs):
    """Set the ages of runs, the last one the oldest."""
    with app.state.services.database.read() as connection:
        newest = connection.scalar(select(tables.runs.c.created_at).order_by(tables.runs.c.created_at))
    for days, run in enumerate(runs):
        statement = update(tables.runs).where(tables.runs.c.run_id == run)
        values = {"created_at": newest.replace(year=newest.year - days)}
        app.state.services.database.write(lambda c, s=statement, v=values: c.execute(s.values(v)).rowcount)


def test_the_newest_runs_of_the_project_come_first_up_to_the_limit(app, call):
    for run in ("a", "b", "c"):
        train(call, run, records=sampled_steps(12))
    train(call, "z", project="other", records=sampled_steps(12))
    set_ages(app, "b", "c", "a")
    answer = compare(call, limit=2.0)  # JSON has one kind of number
    assert (run_ids(answer), answer["more_runs"]) == (["b", "c"], True)
    answer = compare(call)
    assert (run_ids(answer), answer["more_runs"]) == (["b", "c", "a"], False)
    answer = compare(call, run_ids=["a", "c", "a"])
    assert (run_ids(answer), answer["more_runs"]) == (["c", "a"], False)


def test_runs_beyond_the_limits_of_one_request_are_named(app, call, monkeypatch):
    for run in ("a", "b", "c", "d"):
        train(call, run, per_upload=10)
    set_ages(app, "a", "b", "c", "d")
    monkeypatch.setattr(backtest, "MAX_RECORDS", STEPS + 25)
    monkeypatch.setattr(backtest, "UNITS_PER_RECORD", 10**9)
    answer = compare(call, limit=3)
    replayed = [(run["run_id"], run["records"], run["complete"]) for run in answer["runs"]]
    assert replayed == [("a", STEPS, True), ("b", 20, False)]
    assert (answer["left_out"], answer["more_runs"]) == (["c"], True)
    monkeypatch.setattr(backtest, "UNITS_PER_RECORD", UNITS)  # a record of so many units counts twice
    assert [(run["run_id"], run["records"]) for run in compare(call)["runs"]] == [("a", 30)]


def test_a_run_whose_first_upload_exceeds_the_limit_is_left_out(app, call, monkeypatch):
    train(call, per_upload=STEPS)
    monkeypatch.setattr(backtest, "MAX_RECORDS", STEPS - 1)
    answer = compare(call)
    assert (answer["runs"], answer["left_out"]) == ([], ["r1"])


def test_a_run_that_is_deleted_meanwhile_is_left_out(app, call, monkeypatch):
    train(call)
    advance = detector.advance

    def delete_first(*arguments):
        while app.state.services.database.write(lambda c: retention.delete_batch(c, "r1")):
            pass
        return advance(*arguments)

    monkeypatch.setattr(detector, "advance", delete_first)
    answer = compare(call)
    assert (answer["runs"], answer["left_out"]) == ([], ["r1"])


def test_only_one_backtest_runs_at_a_time(app, call):
    train(call)
    with app.state.services.backtests._lock:
        answer = call("POST", "/v1/policy/backtest", json={"project": "p", "thresholds": {}})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "busy", "1")
    compare(call)


INVALID = [
    ({"project": "none"}, "project_not_found"),
    ({"run_ids": ["none"]}, "run_not_found"),
    ({"run_ids": ["r1", "of-another"]}, "run_not_found"),
    ({"run_ids": ["r"] * 21}, "invalid_request"),
    ({"run_ids": ["a/b"]}, "invalid_request"),
    ({"limit": True}, "invalid_request"),
    ({"limit": 0}, "invalid_request"),
    ({"limit": 21}, "invalid_request"),
    ({"thresholds": {"nats": -1}}, "invalid_policy"),
    ({"thresholds": {"none": 1}}, "invalid_policy"),
    ({"thresholds": {"nats": "1"}}, "invalid_request"),
    ({"more": 1}, "invalid_request"),
]


def test_invalid_requests_are_problems(call):
    train(call, records=sampled_steps(2))
    train(call, "of-another", project="q", records=sampled_steps(2))
    for changes, code in INVALID:
        answer = call("POST", "/v1/policy/backtest", json={"project": "p", "thresholds": {}} | changes)
        assert answer.json()["code"] == code, changes
        assert answer.status_code == (404 if code.endswith("not_found") else 422), changes


def test_the_client_reads_sets_and_backtests_policies(database_url):
    with listening(database_url) as url, relumine.Client(url) as client:
        train(client._http.request, project="a b")
        assert client.policy("a b").changed == {}
        assert client.backtest("a b", INSENSITIVE).totals.only_in_force == 1
        assert client.set_policy("a b", INSENSITIVE).changed == client.policy("a b").changed == INSENSITIVE
        assert client.backtest("a b", {}, run_ids=["r1"]).runs[0].problems[0].in_force is None
        with pytest.raises(relumine.ServerError, match="nats"):
            client.set_policy("a b", {"nats": -1})
