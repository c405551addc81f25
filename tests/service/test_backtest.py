"""A backtest says what two policies would have raised on stored runs, and what it could not say; it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from live_server import listening
from sqlalchemy import select, update

import relumine
from relumine.policies import Raised
from relumine_server import backtest
from relumine_server.detection import onset, state
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from relumine_server.storage import compaction, journal, retention
from relumine_server.storage import tables as t
from relumine_server.storage.retention import Retention, Run

UNITS, N, LOOKS = 32, 64, 40
STEP = {look: 10 * look + 1 for look in range(LOOKS)}
DEAF = {"born_dead_layer": 1.0}
"""A layer in which one unit fires is not born dead."""

SLOW = {"born_dead_examples": 20 * N}


def looks(count=LOOKS, *, units=UNITS, alive=1, dies_at=0):
    """A layer of which only the first ``alive`` units fire from a look on: from the start, or the rest dies there."""
    rng, silent = np.random.default_rng(5), np.zeros(units, int)
    for look in range(count):
        active = rng.binomial(N, 0.3, units)
        if look >= dies_at:
            active[alive:] = 0
        silent = np.where(active > 0, 0, silent + N)
        yield {
            "layer_id": 1, "first_step": 10 * look + 1, "step": 10 * look + 1, "n_examples": N, "n_positions": N,
            "active": active.tolist(), "silent": silent.tolist(),
        }  # fmt: skip


def train(call, run="r1", project="p", *, records=None, per_upload=10, session="s1", units=UNITS):
    """Uploads of a run, closed at its end; the alerts it ends with."""
    rest = list(looks() if records is None else records)
    uploads = [rest[begin : begin + per_upload] for begin in range(0, len(rest), per_upload)]
    for seq, own in enumerate(uploads, start=1):
        layers = [{"layer_id": 1, "name": "act1", "units": units}] if seq == 1 else []
        head = {"run": {"id": run, "project": project}, "session": session, "seq": seq, "layers": layers}
        body = head | {"records": own} | ({"closing": "finished"} if seq == len(uploads) else {})
        assert call("POST", "/v1/uploads", json=body).status_code == 202
    return call("GET", "/v1/alerts", params={"run_id": run}).json()["items"]


def compare(call, proposed=DEAF, project="p", **more):
    answer = call("POST", "/v1/policy/backtest", json={"project": project, "thresholds": proposed, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def seen(run, policy):
    return {(one["layer_id"], one["kind"], one[policy]["first_step"]) for one in run["problems"] if one[policy]}


@pytest.mark.parametrize("dies_at", [0, 25])
def test_the_policy_in_force_would_have_raised_what_it_raised(call, dies_at):
    alerts = train(call, records=looks(dies_at=dies_at))
    assert alerts
    answer = compare(call)
    (run,) = answer["runs"]
    assert (run["run_id"], run["records"], run["exact"], run["complete"]) == ("r1", LOOKS, True, True)
    assert {
        (one["layer_id"], one["layer"], one["kind"], one["in_force"]["first_step"], one["in_force"]["severity"])
        for one in run["problems"]
    } == {(a["layer_id"], a["layer"], a["kind"], a["opened_step"], a["severity"]) for a in alerts}
    assert (answer["project"], answer["in_force"], answer["proposed"]) == ("p", {}, DEAF)
    assert (answer["left_out"], answer["more_runs"]) == ([], False)


NONE = dict.fromkeys(("in_force", "proposed", "only_in_force", "only_proposed", "same_step", "earlier", "later"), 0)


def test_totals_say_what_only_one_of_the_two_raised(call):
    train(call)
    train(call, "r2")
    assert compare(call)["totals"] == NONE | {"in_force": 2, "only_in_force": 2}
    assert compare(call, {})["totals"] == NONE | {"in_force": 2, "proposed": 2, "same_step": 2}
    call("PUT", "/v1/projects/p/policy", json={"thresholds": DEAF})
    answer = compare(call, {})
    assert answer["totals"] == NONE | {"proposed": 2, "only_proposed": 2}
    assert (answer["in_force"], answer["proposed"]) == (DEAF, {})


def test_totals_say_what_came_earlier_and_what_later(call):
    train(call)
    answer = compare(call, SLOW)
    assert answer["totals"] == NONE | {"in_force": 1, "proposed": 1, "later": 1}
    (born_dead,) = answer["runs"][0]["problems"]
    assert (born_dead["in_force"]["first_step"], born_dead["proposed"]["first_step"]) == (STEP[3], STEP[19])
    call("PUT", "/v1/projects/p/policy", json={"thresholds": SLOW})
    assert compare(call, {})["totals"] == NONE | {"in_force": 1, "proposed": 1, "earlier": 1}


def test_each_policy_has_its_own_severity(call):
    train(call)
    (run,) = compare(call, {"born_dead_critical": 1.0})["runs"]
    (born_dead,) = run["problems"]
    assert (born_dead["in_force"]["severity"], born_dead["proposed"]["severity"]) == ("critical", "info")


def test_of_a_problem_the_first_step_and_the_worst_severity_are_told(monkeypatch):
    told = [("raised", "warning", 5), ("changed", "critical", 7), ("resolved", "critical", 8), ("raised", "info", 9)]
    findings = [Finding(1, "a", "dying", t, s, "unknown", 0.0, step) for t, s, step in told]
    monkeypatch.setattr(onset, "advance", lambda state, records, policy: (state, [], findings))
    fold = backtest.Fold(Policy(), state.empty())
    fold.take([])
    assert fold.raised == {(1, "dying"): Raised(first_step=5, severity="critical")}


def everything(store):
    with store.read() as connection:
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in t.metadata.sorted_tables}


def test_nothing_is_written(app, call):
    train(call)
    before = everything(app.state.store)
    compare(call)
    assert everything(app.state.store) == before


def test_no_transaction_is_open_while_it_computes(app, call, monkeypatch):
    train(call, per_upload=5)
    held, advance = [], onset.advance

    def watched(*arguments):
        held.append(app.state.store.engine.pool.checkedout())
        return advance(*arguments)

    monkeypatch.setattr(onset, "advance", watched)
    compare(call)
    assert held == [0] * (2 * LOOKS // 5)


@pytest.mark.parametrize("limit", ["BATCH", "BATCH_BYTES"])
def test_the_size_of_a_page_changes_nothing(call, monkeypatch, limit):
    train(call, per_upload=5)
    whole = compare(call, SLOW)
    monkeypatch.setattr(journal, limit, 1)
    assert compare(call, SLOW) == whole


def test_compacted_runs_are_folded_alike(app, call):
    train(call)
    before = compare(call)
    while app.state.store.write(lambda c: compaction.compact(c, "r1")):
        pass
    with app.state.store.read() as connection:
        assert connection.execute(select(t.chunks.c.run_id)).first()
    assert compare(call) == before


def test_a_run_whose_units_were_thinned_is_said_to_be_inexact(app, call):
    train(call, records=looks(200, alive=UNITS))
    train(call, "r2")
    thinned = Run("r1", Retention(unit_bytes=0, unit_rows_every=10))
    while app.state.store.write(lambda c: retention.thin(c, thinned)):
        pass
    assert {run["run_id"]: run["exact"] for run in compare(call)["runs"]} == {"r1": False, "r2": True}


def test_a_run_whose_layer_changed_its_units_is_said_to_be_inexact(call):
    train(call, records=looks(units=8), units=8)
    train(call, session="s2")
    (run,) = compare(call)["runs"]
    assert (run["exact"], run["complete"], run["records"]) == (False, True, 2 * LOOKS)


def age(app, *runs):
    """Makes the runs older than each other, the last the oldest."""
    with app.state.store.read() as connection:
        newest = connection.scalar(select(t.runs.c.created_at).order_by(t.runs.c.created_at))
    for days, run in enumerate(runs):
        statement = update(t.runs).where(t.runs.c.run_id == run)
        values = {"created_at": newest.replace(year=newest.year - days)}
        app.state.store.write(lambda c, s=statement, v=values: c.execute(s.values(v)).rowcount)


def test_the_newest_runs_of_the_project_come_first_and_no_more_than_asked_for(app, call):
    for run in ("a", "b", "c"):
        train(call, run, records=looks(12))
    train(call, "z", project="other", records=looks(12))
    age(app, "b", "c", "a")
    answer = compare(call, limit=2.0)  # JSON has one kind of number
    assert ([run["run_id"] for run in answer["runs"]], answer["more_runs"]) == (["b", "c"], True)
    answer = compare(call)
    assert ([run["run_id"] for run in answer["runs"]], answer["more_runs"]) == (["b", "c", "a"], False)
    answer = compare(call, run_ids=["a", "c", "a"])
    assert ([run["run_id"] for run in answer["runs"]], answer["more_runs"]) == (["c", "a"], False)


def test_what_one_request_may_not_fold_is_named(app, call, monkeypatch):
    for run in ("a", "b", "c", "d"):
        train(call, run, per_upload=10)
    age(app, "a", "b", "c", "d")
    monkeypatch.setattr(backtest, "RECORDS", LOOKS + 25)
    monkeypatch.setattr(backtest, "UNITS", 10**9)
    answer = compare(call, limit=3)
    shown = [(run["run_id"], run["records"], run["complete"]) for run in answer["runs"]]
    assert shown == [("a", LOOKS, True), ("b", 20, False)]
    assert (answer["left_out"], answer["more_runs"]) == (["c"], True)
    monkeypatch.setattr(backtest, "UNITS", UNITS)  # a record of so many units counts twice
    assert [(run["run_id"], run["records"]) for run in compare(call)["runs"]] == [("a", 30)]


def test_a_run_of_which_not_one_upload_fits_is_left_out(app, call, monkeypatch):
    train(call, per_upload=LOOKS)
    monkeypatch.setattr(backtest, "RECORDS", LOOKS - 1)
    answer = compare(call)
    assert (answer["runs"], answer["left_out"]) == ([], ["r1"])


def test_a_run_that_is_deleted_meanwhile_is_left_out(app, call, monkeypatch):
    train(call)
    advance = onset.advance

    def delete_first(*arguments):
        while app.state.store.write(lambda c: retention.delete_some(c, "r1")):
            pass
        return advance(*arguments)

    monkeypatch.setattr(onset, "advance", delete_first)
    answer = compare(call)
    assert (answer["runs"], answer["left_out"]) == ([], ["r1"])


def test_one_is_under_way_at_a_time(app, call):
    train(call)
    with app.state.backtests._turn:
        answer = call("POST", "/v1/policy/backtest", json={"project": "p", "thresholds": {}})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "busy", "1")
    compare(call)


ODD = [
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


def test_odd_requests_are_problems(call):
    train(call, records=looks(2))
    train(call, "of-another", project="q", records=looks(2))
    for changes, code in ODD:
        answer = call("POST", "/v1/policy/backtest", json={"project": "p", "thresholds": {}} | changes)
        assert answer.json()["code"] == code, changes
        assert answer.status_code == (404 if code.endswith("not_found") else 422), changes


def test_the_client_reads_sets_and_tries_policies(database_url):
    with listening(database_url) as url, relumine.Client(url) as client:
        train(client._http.request, project="a b")
        assert client.policy("a b").changed == {}
        assert client.backtest("a b", DEAF).totals.only_in_force == 1
        assert client.set_policy("a b", DEAF).changed == client.policy("a b").changed == DEAF
        assert client.backtest("a b", {}, run_ids=["r1"]).runs[0].problems[0].in_force is None
        with pytest.raises(relumine.ServerError, match="nats"):
            client.set_policy("a b", {"nats": -1})
