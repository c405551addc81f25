"""An alert says what was done about it and what became of that: real trainings, and uploads that say what was done."""

from __future__ import annotations

import pytest
import torch
from live_server import listening
from sqlalchemy import func, select
from torch import nn

import relumine
from relumine._applied import Applied
from relumine_server.storage import compaction
from relumine_server.storage import tables as t

UNITS, N = 16, 64


@pytest.fixture
def server(database_url, monkeypatch, tmp_path):
    """Address of a server on each database; nothing of the environment reaches the SDK."""
    for name in ("RELUMINE_URL", "RELUMINE_MODE", "RELUMINE_RUN_ID", "RELUMINE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path / "spool"))
    with listening(database_url) as url:
        yield url


def train(url, on_alert):
    """120 steps at a sound rate, then at one that kills; the id of the run. ``on_alert`` is made of both."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    act = on_alert(model, optimizer)
    with relumine.watch(model, optimizer, url=url, every=1, on_alert=act, strict=True) as monitor:
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


def test_a_training_that_was_saved_in_time_says_that_it_worked(server):
    run_id = train(server, relumine.remedies.apply)
    with relumine.Client(server) as client:
        (alert,) = (client.alert(one.id) for one in client.alerts(run_id=run_id))
        (treatment,) = alert.treatments
    assert (alert.kind, alert.state, alert.resolved_reason) == ("dying", "resolved", "its units are active")
    assert (treatment.action, treatment.outcome) == ("lower_learning_rate", "worked")
    assert treatment.step > alert.opened_step > 120
    assert treatment.looks > 50
    assert treatment.share_after == 0.0


def test_a_training_whose_remedy_does_nothing_says_that_it_did_not(server):
    def pretend(_model, _optimizer):
        return lambda alert: Applied("pray", None, "prayed", ()) if alert.kind == "dead" else None

    run_id = train(server, pretend)
    with relumine.Client(server) as client:
        alerts = {one.kind: client.alert(one.id) for one in client.alerts(run_id=run_id)}
    (treatment,) = alerts["dead"].treatments
    assert (treatment.action, treatment.outcome) == ("pray", "did_not_work")
    assert treatment.share_before >= 0.5
    assert treatment.share_after >= treatment.share_before
    assert alerts["dying"].treatments == []  # nothing was done about that one


def upload(seq, steps, dead=0, *done, session="s1", marks=False, **more):
    """Looks at a layer of which the first units are silent; ``done`` as (step, name of the number)."""
    records = []
    for step in steps:
        here = {"first_step": step, "step": step}
        records += [{"layer_id": 0, **here, "marks": 1}] if marks and step == steps[0] else []
        records += [{"layer_id": 1, **here, "n_examples": N, "active": [0] * dead + [20] * (UNITS - dead)}]
    return {
        "run": {"id": "r1", "project": "p"},
        "session": session,
        "seq": seq,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": records,
        "numbers": [{"step": step, "name": name, "value": 0.0} for step, name in done],
        **more,
    }


@pytest.fixture
def told(call):
    """Takes uploads, and gives what is said of the dead layer's treatments."""

    def say(*uploads):
        for one in uploads:
            assert call("POST", "/v1/uploads", json=one).status_code == 202
        alert = call("GET", "/v1/alerts/r1.1.dead").json()
        return [(one["action"], one["step"], one["outcome"], one["looks"]) for one in alert["treatments"]]

    return say


SOUND, LOST = upload(1, range(10, 210, 10)), upload(2, range(210, 610, 10), 12)
REVIVED, LOWERED = "remedy/r1.1.dead/revive", "remedy/r1.1.dead/lower_learning_rate"


def test_an_alert_that_nobody_treated_has_no_treatments(call, told):
    assert told(SOUND, LOST) == []
    assert "treatments" not in call("GET", "/v1/alerts").json()["items"][0]


def test_what_is_said_changes_as_the_looks_come_in(told):
    assert told(SOUND, LOST, upload(3, [610], 12, (610, REVIVED))) == [("revive", 610, "too_early", 0)]
    assert told(upload(4, range(620, 690, 10))) == [("revive", 610, "too_early", 7)]
    assert told(upload(5, [690])) == [("revive", 610, "worked", 8)]
    assert told(upload(6, range(700, 1400, 10), 12)) == [("revive", 610, "did_not_work", 78)]


def test_several_remedies_are_told_each_with_its_own_outcome(told):
    done = [(600, LOWERED), (600, LOWERED), (700, REVIVED)]
    lost, back = upload(3, range(610, 710, 10), 12, *done), upload(4, range(710, 800, 10))
    expected = [("lower_learning_rate", 600, "did_not_work", 10), ("revive", 700, "worked", 9)]
    assert told(SOUND, LOST, lost, back) == expected


def test_a_remedy_for_another_alert_of_the_layer_ends_what_is_judged_and_one_for_another_layer_does_not(told):
    other = upload(3, range(610, 710, 10), 12, (600, REVIVED), (630, "remedy/r1.11.dead/revive"))
    assert told(SOUND, LOST, other) == [("revive", 600, "did_not_work", 10)]
    assert told(upload(4, [710], 12, (650, "remedy/r1.1.dying/revive"))) == [("revive", 600, "too_early", 5)]


def test_a_new_baseline_is_no_success(told):
    lost = upload(3, range(610, 640, 10), 12, (600, REVIVED), (630, "mark/head replaced"))
    assert told(SOUND, LOST, lost, upload(4, range(640, 900, 10), 12, marks=True)) == [("revive", 600, "too_early", 3)]


def test_what_a_session_did_that_another_took_over_from_is_not_told(told):
    assert told(SOUND, LOST, upload(3, range(610, 710, 10), 12, (650, REVIVED))) == [("revive", 650, "too_early", 5)]
    assert told(upload(1, range(610, 720, 10), 12, session="s2")) == []
    assert told(upload(2, range(720, 800, 10), 0, (710, LOWERED), session="s2")) == [
        ("lower_learning_rate", 710, "worked", 8)
    ]


def test_what_came_late_and_was_not_judged_does_not_count(told):
    later = upload(4, range(690, 770, 10), 0, (600, REVIVED))
    assert told(SOUND, LOST, later, upload(3, range(610, 690, 10), 12)) == [("revive", 600, "worked", 8)]


def test_values_that_are_not_finite_are_no_success(told):
    broken = upload(3, range(610, 710, 10), 0, (600, REVIVED))
    for record in broken["records"]:
        record["nonfinite"] = 1
    assert told(SOUND, LOST, broken) == [("revive", 600, "did_not_work", 10)]


def test_an_alert_of_the_run_is_over_by_itself_or_it_is_not(call):
    def run_level(seq, steps, nonfinite, *done):
        body = upload(seq, steps, 0, *done)
        for record in body["records"]:
            record["nonfinite"] = nonfinite
        of_run = [{"layer_id": 0, "first_step": step, "step": step, "n_examples": N} for step in steps]
        return body | {"records": sorted(body["records"] + of_run, key=lambda record: record["step"])}

    def outcomes(*uploads):
        for one in uploads:
            assert call("POST", "/v1/uploads", json=one).status_code == 202
        return [(one["outcome"], one["looks"]) for one in call("GET", "/v1/alerts/r1.0.diverged").json()["treatments"]]

    lowered = (310, "remedy/r1.0.diverged/lower_learning_rate")
    assert outcomes(SOUND, run_level(2, range(210, 320, 10), 1, lowered)) == [("too_early", 0)]
    assert outcomes(run_level(3, range(320, 400, 10), 1)) == [("did_not_work", 8)]
    assert outcomes(run_level(4, range(400, 500, 10), 0)) == [("worked", 18)]


def test_the_end_of_the_run_leaves_it_open(call, told):
    assert told(SOUND, LOST, upload(3, [610, 620], 12, (600, REVIVED), closing="finished")) == [
        ("revive", 600, "too_early", 2)
    ]
    (treatment,) = call("GET", "/v1/alerts/r1.1.dead").json()["treatments"]
    assert treatment["words"].endswith("the last 0 of them sound; 8 are needed; the run has ended")


def test_acknowledging_and_resolving_answer_with_the_treatments_too(call, told):
    told(SOUND, LOST, upload(3, range(610, 710, 10), 12, (600, REVIVED)))
    note = {"author": "Ada", "note": ""}
    for what in ("acknowledge", "resolve"):
        (treatment,) = call("POST", f"/v1/alerts/r1.1.dead/{what}", json=note).json()["treatments"]
        assert treatment["outcome"] == "did_not_work"
    assert told(upload(4, range(710, 800, 10))) == [("revive", 600, "worked", 19)]


def test_it_is_told_of_compacted_runs_alike(app, told, monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK", 16)
    lost = upload(3, range(610, 710, 10), 12, (600, REVIVED))
    before = told(SOUND, LOST, lost)
    while app.state.store.write(lambda connection: compaction.compact(connection, "r1")):
        pass
    with app.state.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(t.chunks)) > 0
    assert told() == before == [("revive", 600, "did_not_work", 10)]
