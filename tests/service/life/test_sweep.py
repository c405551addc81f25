"""What the clock does to alerts: suspicions ripen, runs fall silent and return, what nobody answers is told again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from alert_world import START, found

from relumine_server import alerting
from relumine_server.settings import Settings
from relumine_server.storage import due
from relumine_server.storage import tables as t
from relumine_server.sweep import Sweep

KIND = {"layer_id": 0, "kind": "stalled"}


def test_a_run_that_falls_silent_is_suspected_then_stalled_and_recovers_by_itself(world):
    world.upload()
    world.move(seconds=599)
    assert world.call("GET", "/v1/alerts").json()["items"] == []
    world.move(seconds=1)
    assert (world.alert(**KIND)["state"], world.run_state(), world.events()) == ("pending", "running", [])
    world.move(seconds=299)
    assert world.alert(**KIND)["state"] == "pending"
    world.move(seconds=1)
    alert = world.alert(**KIND)
    assert (alert["state"], alert["severity"], alert["layer"], world.run_state()) == (
        "firing", "warning", None, "stalled",
    )  # fmt: skip
    assert "crash" not in alert["message"].lower()
    assert alert["evidence"]["heard_at"] == "2026-01-01T00:00:00Z"
    world.upload()
    assert (world.alert(**KIND)["state"], world.run_state()) == ("resolved", "running")
    assert world.events() == [("alert.firing", ["0.stalled"]), ("alert.resolved", ["0.stalled"])]
    assert world.states(**KIND) == ["pending", "firing", "resolved"]


def test_a_run_that_comes_back_within_the_grace_is_never_told_of(world):
    world.upload()
    world.move(seconds=700)
    world.upload()
    assert world.states(**KIND) == ["pending", "resolved"]
    world.move(seconds=400)
    assert world.events() == []


def test_a_run_that_stalls_again_regresses(world):
    world.upload()
    world.move(seconds=600)
    world.move(seconds=300)
    world.upload()
    world.move(hours=3)
    world.move(seconds=300)
    assert world.states(**KIND) == ["pending", "firing", "resolved", "pending", "regressed"]
    assert world.run_state() == "stalled"


def test_a_run_that_reports_every_twenty_minutes_has_not_stalled_after_ten(world):
    for _ in range(4):
        world.upload()
        world.now += timedelta(minutes=20)
    world.upload()
    for _ in range(35):
        world.move(minutes=1)
    assert world.call("GET", "/v1/alerts").json()["items"] == []
    world.move(minutes=5)
    assert world.alert(**KIND)["state"] == "pending"


def test_an_evaluation_as_long_as_the_one_before_is_no_stall(world):
    for _ in range(30):
        world.upload()
        world.now += timedelta(seconds=5)
    world.now += timedelta(minutes=12)
    for _ in range(300):
        world.upload()
        world.now += timedelta(seconds=5)
    for _ in range(13):
        world.move(minutes=1)
    assert world.call("GET", "/v1/alerts").json()["items"] == []


@pytest.mark.parametrize("closing", ["finished", "failed"])
def test_a_run_that_ended_does_not_stall(world, closing):
    world.upload(closing=closing)
    world.move(days=2)
    world.move(days=2)
    assert world.call("GET", "/v1/alerts").json()["items"] == []
    assert world.run_state() == closing


def test_the_end_of_a_stalled_run_closes_its_alert(world):
    world.upload()
    world.move(seconds=600)
    world.move(seconds=300)
    world.call("PATCH", "/v1/runs/r1", json={"state": "failed"})
    assert world.states(**KIND) == ["pending", "firing", "resolved"]
    world.upload(session="s2")
    assert (world.alert(**KIND)["state"], world.run_state()) == ("resolved", "running")
    assert [event for event, _ in world.events()] == ["alert.firing", "alert.resolved", "run.finished"]


def test_who_vouches_for_a_silent_run_is_not_asked_again(world):
    world.upload()
    world.move(seconds=600)
    assert world.act("resolve", **KIND, note="the disk is being moved").status_code == 200
    world.move(hours=5)
    assert world.states(**KIND) == ["pending", "resolved"]
    world.upload()
    world.move(hours=11)
    assert world.alert(**KIND)["state"] == "pending"


def test_what_falls_silent_to_the_hooks_waits_for_its_grace(world):
    world.upload(found(2, "no_data"))
    world.move(seconds=299)
    assert (world.alert(2, "no_data")["state"], world.events()) == ("pending", [])
    world.upload()
    world.move(seconds=1)
    assert (world.alert(2, "no_data")["state"], world.events()) == ("firing", [("alert.firing", ["2.no_data"])])
    world.upload(found(2, "no_data", "resolved"))
    assert world.events() == [("alert.resolved", ["2.no_data"])]


def test_what_is_heard_again_within_the_grace_is_never_told(world):
    world.upload(found(2, "no_data"))
    world.upload(found(2, "no_data", "resolved"))
    world.move(seconds=400)
    assert (world.states(layer_id=2, kind="no_data"), world.events()) == (["pending", "resolved"], [])


def test_what_nobody_answers_is_told_again_every_four_hours(world):
    lost = found(1, "dead", severity="critical")
    world.upload(lost, found(2), found(3, severity="info"), found(4, upstream=[1]))
    world.act("acknowledge", 2)
    world.events()
    for _ in range(12 * 6):
        world.upload()
        world.move(minutes=10)
    assert world.events() == [("alert.firing", ["1.dead"])] * 3
    world.act("acknowledge", 1, "dead")
    world.events()
    for _ in range(12 * 6):
        world.upload()
        world.move(minutes=10)
    assert world.events() == []


def pace(world):
    return alerting.Pace(
        timedelta(seconds=world.settings.stalled_after_s),
        timedelta(seconds=world.settings.stalled_grace_s),
        timedelta(seconds=world.settings.repeat_after_s),
    )


def test_a_repetition_moves_nothing(world):
    world.upload(found())
    world.upload(closing=None)
    before = world.alert()
    world.now += timedelta(hours=4)
    world.upload()
    world.events()
    assert world.move(seconds=1) == 1
    assert world.events() == [("alert.firing", ["1.dying"])]
    assert world.alert() == before
    assert world.states() == ["firing"]
    assert world.move(seconds=1) == 0


def test_several_processes_that_sweep_at_once_tell_each_step_once(world):
    for number in range(5):
        world.upload(found(2, "no_data"), run=f"r{number}")
    world.now += timedelta(minutes=12)
    sweeps = [Sweep(world.store, world.settings, lambda: world.now, on_told=lambda: None) for _ in range(3)]
    with world.store.read() as connection:
        seen = due.runs(connection, *pace(world), world.now)
    assert sorted(seen) == [f"r{number}" for number in range(5)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(Sweep.run_once, sweeps)) == 5
    told = [world.store.write(partial(alerting.tend, run_id=run, pace=pace(world), now=world.now)) for run in seen]
    assert told == [0] * 5  # who looked before the others were done finds nothing left to do
    assert len(world.told) == 5
    assert world.states(run="r3", **KIND) == ["pending"]


def test_a_run_that_stalled_long_ago_counts_as_failed(world):
    world.upload(found())
    body = {"unit_bytes": 2**20, "unit_rows_every": 10, "expire_days": 7}
    assert world.call("PUT", "/v1/projects/digits/retention", json=body).status_code == 200
    world.move(seconds=600)
    world.move(seconds=300)
    world.events()
    world.now = START + timedelta(days=8)
    world.sweep.run_once()
    assert world.run_state() == "failed"
    events = [event for event, _ in world.events()]
    assert events[-2:] == ["alert.resolved", "run.finished"]
    assert {world.alert()["resolved_reason"], world.alert(**KIND)["resolved_reason"]} == {"the run failed"}
    world.app.state.caretaker.run_once()
    assert world.run_state() == "failed"  # it is deleted as old as any other that ended


def test_a_sweep_with_nothing_to_do_writes_nothing(world, monkeypatch):
    world.upload(found())
    monkeypatch.setattr(world.store, "write", lambda _work: pytest.fail("something was written"))
    assert world.sweep.run_once() == 0


def test_the_settings_say_how_patient_the_clock_is(world):
    quick = Settings(stalled_after_s=5, stalled_grace_s=1, repeat_after_s=60)
    sweep = Sweep(world.store, quick, lambda: world.now, on_told=lambda: None)
    world.upload()
    world.now += timedelta(seconds=6)
    sweep.run_once()
    world.now += timedelta(seconds=1)
    assert sweep.run_once() == 1
    world.now += timedelta(seconds=60)
    assert sweep.run_once() == 1
    with world.store.read() as connection:
        assert connection.execute(t.alerts.select()).one().kind == "stalled"
