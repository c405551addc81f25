"""Remedies that were applied to an alert and their outcomes: with real trainings, and with uploads that report them."""

from __future__ import annotations

import pytest
import torch
from sqlalchemy import func, select
from torch import nn

import relumine
from relumine.alert_actions import RemedyResult
from relumine_server.db import tables
from relumine_server.timeseries import compaction
from tests.helpers.live_server import listening

UNITS, N = 16, 64


@pytest.fixture
def server(database_url, monkeypatch, tmp_path):
    """Run a server on each database; the SDK sees no variables of the environment."""
    for name in ("RELUMINE_URL", "RELUMINE_MODE", "RELUMINE_RUN_ID", "RELUMINE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "spool"))
    with listening(database_url) as url:
        yield url


def train(url, on_alert, seed=1):
    """Train 120 steps at a good learning rate and 80 at one that kills units; return the run id.

    ``on_alert(model, optimizer)`` returns the callback. The seed decides how fast the units die.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    callback = on_alert(model, optimizer)
    with relumine.watch(model, optimizer, url=url, every=1, on_alert=callback, strict=True) as monitor:
        for step in range(200):
            if step == 120:
                optimizer.param_groups[0]["lr"] = 2.0
            x = torch.rand(64, 6)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] * 3).long()).backward()
            optimizer.step()
            if step >= 120:
                monitor.flush()
    return monitor.run_id


def test_a_remedy_that_saves_a_training_in_time_is_effective(server):
    run_id = train(server, relumine.remedies.apply, seed=0)
    with relumine.Client(server) as client:
        (alert,) = (client.alert(item.id) for item in client.alerts(run_id=run_id))
        (remedy,) = alert.remedy_outcomes
    assert (alert.kind, alert.state, alert.resolved_reason) == ("dying", "resolved", "its units are active")
    assert (remedy.action, remedy.outcome) == ("lower_learning_rate", "effective")
    assert remedy.step > alert.opened_step > 120
    assert remedy.sampled_steps > 50
    assert remedy.share_after == 0.0


def test_a_remedy_that_does_nothing_is_ineffective(server):
    def do_nothing(_model, _optimizer):
        return lambda alert: RemedyResult("pray", None, "prayed", ()) if alert.kind == "dead" else None

    run_id = train(server, do_nothing)
    with relumine.Client(server) as client:
        (alert,) = (client.alert(item.id) for item in client.alerts(run_id=run_id, kind="dead"))
    (remedy,) = alert.remedy_outcomes
    assert (remedy.action, remedy.outcome) == ("pray", "ineffective")
    assert remedy.share_before >= 0.5
    assert remedy.share_after >= remedy.share_before
    assert alert.opened_step < alert.dead_step <= remedy.step


def upload(seq, steps, dead=0, *metrics, session="s1", marks=False, **more):
    """Return an upload with the first ``dead`` units of a layer silent; ``metrics`` are (step, name)."""
    records = []
    for step in steps:
        at_step = {"first_step": step, "step": step}
        records += [{"layer_id": 0, **at_step, "marks": 1}] if marks and step == steps[0] else []
        records += [{"layer_id": 1, **at_step, "n_examples": N, "active": [0] * dead + [20] * (UNITS - dead)}]
    return {
        "run": {"id": "r1", "project": "p"},
        "session": session,
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": records,
        "metrics": [{"step": step, "name": name, "value": 0.0} for step, name in metrics],
        **more,
    }


@pytest.fixture
def outcomes(call):
    """Send uploads; return (action, step, outcome, sampled_steps) of each remedy for the dead layer."""

    def send(*uploads):
        for body in uploads:
            assert call("POST", "/v1/uploads", json=body).status_code == 202
        alert = call("GET", "/v1/alerts/r1.1.dying").json()
        names = ("action", "step", "outcome", "sampled_steps")
        return [tuple(remedy[name] for name in names) for remedy in alert["remedy_outcomes"]]

    return send


HEALTHY = upload(1, range(10, 210, 10))
DEAD = upload(2, range(210, 610, 10), 12)
REVIVE = "remedy/r1.1.dying/revive_"
LOWER = "remedy/r1.1.dying/lower_learning_rate"


def test_an_alert_without_applied_remedies_has_no_outcomes(call, outcomes):
    assert outcomes(HEALTHY, DEAD) == []
    assert "remedy_outcomes" not in call("GET", "/v1/alerts").json()["items"][0]


def test_the_outcome_changes_as_sampled_steps_arrive(outcomes):
    assert outcomes(HEALTHY, DEAD, upload(3, [610], 12, (610, REVIVE))) == [("revive_", 610, "inconclusive", 0)]
    assert outcomes(upload(4, range(620, 690, 10))) == [("revive_", 610, "inconclusive", 7)]
    assert outcomes(upload(5, [690])) == [("revive_", 610, "effective", 8)]
    assert outcomes(upload(6, range(700, 1400, 10), 12)) == [("revive_", 610, "ineffective", 78)]


def test_each_of_several_remedies_has_an_outcome(outcomes):
    applied = [(600, LOWER), (600, LOWER), (700, REVIVE)]
    dead, recovered = upload(3, range(610, 710, 10), 12, *applied), upload(4, range(710, 800, 10))
    expected = [("lower_learning_rate", 600, "ineffective", 10), ("revive_", 700, "effective", 9)]
    assert outcomes(HEALTHY, DEAD, dead, recovered) == expected


def test_the_judged_steps_end_at_the_next_remedy_for_the_layer_but_not_for_another_layer(outcomes):
    other = upload(3, range(610, 710, 10), 12, (600, REVIVE), (630, "remedy/r1.11.dying/revive_"))
    assert outcomes(HEALTHY, DEAD, other) == [("revive_", 600, "ineffective", 10)]
    assert outcomes(upload(4, [710], 12, (650, "remedy/r1.1.born_dead/revive_"))) == [
        ("revive_", 600, "inconclusive", 5)
    ]


def test_a_new_baseline_does_not_make_a_remedy_effective(outcomes):
    dead = upload(3, range(610, 640, 10), 12, (600, REVIVE), (630, "mark/head replaced"))
    assert outcomes(HEALTHY, DEAD, dead, upload(4, range(640, 900, 10), 12, marks=True)) == [
        ("revive_", 600, "inconclusive", 3)
    ]


def test_remedies_of_steps_that_a_newer_session_replaced_are_left_out(outcomes):
    assert outcomes(HEALTHY, DEAD, upload(3, range(610, 710, 10), 12, (650, REVIVE))) == [
        ("revive_", 650, "inconclusive", 5)
    ]
    assert outcomes(upload(1, range(610, 720, 10), 12, session="s2")) == []
    assert outcomes(upload(2, range(720, 800, 10), 0, (710, LOWER), session="s2")) == [
        ("lower_learning_rate", 710, "effective", 8)
    ]


def test_records_that_came_late_do_not_count(outcomes):
    later = upload(4, range(690, 770, 10), 0, (600, REVIVE))
    assert outcomes(HEALTHY, DEAD, later, upload(3, range(610, 690, 10), 12)) == [("revive_", 600, "effective", 8)]


def test_nonfinite_values_do_not_make_a_remedy_effective(outcomes):
    nonfinite = upload(3, range(610, 710, 10), 0, (600, REVIVE))
    for record in nonfinite["records"]:
        record["nonfinite"] = 1
    assert outcomes(HEALTHY, DEAD, nonfinite) == [("revive_", 600, "ineffective", 10)]


def test_a_remedy_for_an_alert_of_the_run_is_judged_by_the_state_of_the_alert(call):
    def run_level(seq, steps, nonfinite, *metrics):
        body = upload(seq, steps, 0, *metrics)
        for record in body["records"]:
            record["nonfinite"] = nonfinite
        run_records = [{"layer_id": 0, "first_step": step, "step": step, "n_examples": N} for step in steps]
        return body | {"records": sorted(body["records"] + run_records, key=lambda record: record["step"])}

    def outcomes(*uploads):
        for body in uploads:
            assert call("POST", "/v1/uploads", json=body).status_code == 202
        alert = call("GET", "/v1/alerts/r1.0.diverged").json()
        return [(remedy["outcome"], remedy["sampled_steps"]) for remedy in alert["remedy_outcomes"]]

    lowered = (310, "remedy/r1.0.diverged/lower_learning_rate")
    assert outcomes(HEALTHY, run_level(2, range(210, 320, 10), 1, lowered)) == [("inconclusive", 0)]
    assert outcomes(run_level(3, range(320, 400, 10), 1)) == [("ineffective", 8)]
    assert outcomes(run_level(4, range(400, 500, 10), 0)) == [("effective", 18)]


def test_the_end_of_the_run_leaves_the_outcome_inconclusive(call, outcomes):
    assert outcomes(HEALTHY, DEAD, upload(3, [610, 620], 12, (600, REVIVE), final_status="finished")) == [
        ("revive_", 600, "inconclusive", 2)
    ]
    (remedy,) = call("GET", "/v1/alerts/r1.1.dying").json()["remedy_outcomes"]
    assert remedy["explanation"].endswith("the last 0 of them clear; 8 are needed; the run has ended")


def test_acknowledging_and_resolving_answer_with_the_remedy_outcomes_too(call, outcomes):
    outcomes(HEALTHY, DEAD, upload(3, range(610, 710, 10), 12, (600, REVIVE)))
    note = {"author": "Ada", "note": ""}
    for action in ("acknowledge", "resolve"):
        (remedy,) = call("POST", f"/v1/alerts/r1.1.dying/{action}", json=note).json()["remedy_outcomes"]
        assert remedy["outcome"] == "ineffective"
    assert outcomes(upload(4, range(710, 800, 10))) == [("revive_", 600, "effective", 19)]


def test_the_outcomes_of_a_compacted_run_are_the_same(app, outcomes, monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK_RECORDS", 16)
    dead = upload(3, range(610, 710, 10), 12, (600, REVIVE))
    uncompacted = outcomes(HEALTHY, DEAD, dead)
    while app.state.services.database.write(lambda connection: compaction.compact(connection, "r1")):
        pass
    with app.state.services.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.chunks)) > 0
    assert outcomes() == uncompacted == [("revive_", 600, "ineffective", 10)]
