"""An alert's life as users meet it: what moves it, what its history says, and who is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alert_world import found


def test_a_warning_that_becomes_critical_is_one_alert_told_twice(world):
    world.upload(found())
    world.upload(found(transition="changed", severity="critical", step=140))
    alert = world.alert()
    assert (alert["state"], alert["severity"], alert["opened_step"]) == ("firing", "critical", 100)
    assert len(world.call("GET", "/v1/alerts").json()["items"]) == 1
    assert world.events() == [("alert.firing", ["1.dying"])] * 2
    told = [(e["event"], e["from_state"], e["to_state"], e["severity"], e["step"]) for e in world.history()]
    assert told == [
        ("raised", None, "firing", "warning", 100),
        ("escalated", "firing", "firing", "critical", 140),
    ]


def test_an_acknowledgement_has_a_name_and_a_note_and_is_gone_with_the_alert(world):
    world.upload(found())
    taken = world.act("acknowledge", author="Ada", note="halving the rate")
    assert taken.json()["state"] == "acknowledged"
    assert taken.json()["acknowledged"] == {"author": "Ada", "note": "halving the rate", "at": "2026-01-01T00:00:00Z"}
    world.upload(found(transition="resolved", step=200))
    alert = world.alert()
    assert (alert["state"], alert["acknowledged"], alert["resolved_step"]) == ("resolved", None, 200)
    assert alert["resolved_reason"] == "it is over"
    assert [event for event, _ in world.events()] == ["alert.firing", "alert.acknowledged", "alert.resolved"]
    said = [(e["event"], e["author"], e["note"]) for e in world.history()]
    assert said[1:] == [("acknowledged", "Ada", "halving the rate"), ("cleared", None, "it is over")]


def test_what_gets_worse_than_what_somebody_took_on_fires_again(world):
    world.upload(found())
    world.act("acknowledge")
    world.events()
    world.upload(found(transition="changed", severity="critical"))
    assert (world.alert()["state"], world.alert()["acknowledged"]) == ("firing", None)
    assert world.events() == [("alert.firing", ["1.dying"])]


def test_what_was_resolved_returns_as_regressed(world):
    world.upload(found())
    world.upload(found(transition="resolved"))
    world.upload(found(step=300))
    alert = world.alert()
    assert (alert["state"], alert["opened_step"], alert["resolved_step"]) == ("regressed", 100, None)
    assert world.states() == ["firing", "resolved", "regressed"]
    assert [event for event, _ in world.events()] == ["alert.firing", "alert.resolved", "alert.firing"]


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_a_resolved_alert_takes_no_more_from_people(world, action):
    world.upload(found())
    assert world.act("resolve").status_code == 200
    answer = world.act(action)
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_resolved")
    assert world.states() == ["firing", "resolved"]


def test_the_second_who_acknowledges_learns_who_has_it(world):
    world.upload(found())
    assert world.act("acknowledge", author="Ada").status_code == 200
    again = world.act("acknowledge", author="Ada", note="said twice")
    assert (again.status_code, again.json()["acknowledged"]["note"]) == (200, "")
    answer = world.act("acknowledge", author="Grace")
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_acknowledged")
    assert "Ada" in answer.json()["detail"]
    assert world.states() == ["firing", "acknowledged"]


def test_of_many_who_acknowledge_at_once_exactly_one_has_it(world):
    world.upload(found())
    names = [f"person {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: world.act("acknowledge", author=name), names))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    winner = next(name for name, answer in zip(names, answers, strict=True) if answer.status_code == 200)
    assert world.alert()["acknowledged"]["author"] == winner
    assert all(winner in answer.json()["detail"] for answer in answers if answer.status_code == 409)
    assert world.states() == ["firing", "acknowledged"]
    assert [event for event, _ in world.events()] == ["alert.firing", "alert.acknowledged"]


def test_of_a_resolve_and_an_acknowledgement_at_once_no_order_loses_either(world):
    world.upload(*(found(layer_id) for layer_id in range(1, 7)))
    tries = [(what, layer_id) for layer_id in range(1, 7) for what in ("acknowledge", "resolve")]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: (one, world.act(one[0], one[1]).status_code), tries))
    assert all(status == 200 for (what, _), status in answers if what == "resolve")
    for layer_id in range(1, 7):
        taken = dict(answers)["acknowledge", layer_id] == 200
        between = ["acknowledged"] if taken else []
        assert world.states(layer_id=layer_id) == ["firing", *between, "resolved"]


def test_closed_by_hand_it_stays_closed_until_the_detector_raises_it_anew(world):
    world.upload(found())
    answer = world.act("resolve", author="Ada", note="known")
    assert (answer.json()["state"], answer.json()["resolved_reason"]) == ("resolved", "by Ada: known")
    world.upload(found(transition="changed"))
    world.upload(found(transition="resolved"))
    assert world.states() == ["firing", "resolved"]
    assert world.alert()["resolved_reason"] == "by Ada: known"
    world.upload(found(step=500))
    assert world.alert()["state"] == "regressed"
    assert [event for event, _ in world.events()] == ["alert.firing", "alert.resolved", "alert.firing"]


def test_closed_by_hand_it_returns_when_it_gets_worse(world):
    world.upload(found())
    world.act("resolve")
    world.upload(found(transition="changed", severity="critical", step=160))
    assert (world.alert()["state"], world.alert()["severity"]) == ("regressed", "critical")
    assert world.states() == ["firing", "resolved", "regressed"]


@pytest.mark.parametrize("outcome", ["finished", "failed"])
def test_the_end_of_a_run_closes_what_is_open_and_tells_a_summary(world, outcome):
    world.upload(found(1), found(2, severity="info"), found(3, "no_data"))
    world.events()
    answered = world.upload(closing=outcome)
    assert {(a.kind, a.state, a.resolved_reason) for a in answered} == {
        ("dying", "resolved", f"the run {outcome}"),
        ("no_data", "resolved", f"the run {outcome}"),
    }
    assert world.events() == [("alert.resolved", ["1.dying", "2.dying"]), ("run.finished", [])]
    assert world.states(layer_id=3, kind="no_data") == ["pending", "resolved"]
    assert world.run_state() == outcome


def test_a_run_that_people_end_is_told_once(world):
    world.upload(found())
    world.events()
    assert world.call("PATCH", "/v1/runs/r1", json={"state": "finished"}).json()["open_alerts"] == 0
    assert world.events() == [("alert.resolved", ["1.dying"]), ("run.finished", [])]
    world.call("PATCH", "/v1/runs/r1", json={"state": "failed"})
    world.upload(closing="finished")
    assert world.events() == []


def test_what_was_open_when_a_run_ended_is_open_when_it_goes_on(world):
    world.upload(found(1, "dead", severity="critical"), found(2), found(3, "no_data"))
    world.act("resolve", 2)
    world.upload(closing="finished")
    world.events()
    world.upload(session="s2")
    assert world.run_state() == "running"
    assert world.alert(1, "dead")["state"] == "regressed"
    assert world.alert(2)["state"] == "resolved"  # a person closed it
    assert world.alert(3, "no_data")["state"] == "pending"
    assert world.events() == [("alert.firing", ["1.dead"])]
    world.upload(session="s2", closing="finished")
    assert world.events() == [("alert.resolved", ["1.dead"]), ("run.finished", [])]


def test_what_is_raised_and_over_within_one_upload_is_told_all_the_same(world):
    world.upload(found(), found(transition="resolved"), found(2), closing="finished")
    assert world.events() == [
        ("alert.firing", ["1.dying", "2.dying"]),
        ("alert.resolved", ["1.dying", "2.dying"]),
        ("run.finished", []),
    ]


def test_one_upload_makes_one_telling_of_each_event(world):
    world.upload(found(1), found(2))
    world.events()
    world.upload(found(1, transition="resolved"), found(2, transition="resolved"), found(3), found(4))
    assert world.events() == [("alert.firing", ["3.dying", "4.dying"]), ("alert.resolved", ["1.dying", "2.dying"])]


def test_history_comes_in_pages(world):
    world.upload(found())
    for _ in range(3):
        world.upload(found(transition="resolved"))
        world.upload(found())
    path, cursor, numbers = "/v1/alerts/r1.1.dying/history", "", []
    while cursor is not None:
        page = world.call("GET", f"{path}?limit=3{cursor and f'&cursor={cursor}'}").json()
        numbers += [entry["number"] for entry in page["items"]]
        cursor = page["next_cursor"]
    assert numbers == list(range(1, 8))
    assert world.call("GET", f"{path}?cursor=none").json()["code"] == "bad_cursor"
    assert world.call("GET", "/v1/alerts/r1.9.dying/history").json()["code"] == "alert_not_found"


def test_a_deleted_run_leaves_nothing_of_its_alerts(world):
    world.upload(found())
    assert world.call("DELETE", "/v1/runs/r1").status_code == 204
    assert world.call("GET", "/v1/alerts/r1.1.dying/history").status_code == 404
    world.upload(found(), session="s2")
    assert world.states() == ["firing"]
