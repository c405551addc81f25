"""The lifecycle of an alert as users see it: its states, its events, and the notifications."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from relumine_server.alerts import run_alerts
from relumine_server.alerts.status import AlertEvent
from relumine_server.runs import repository as run_repository
from tests.helpers.alert_harness import finding


def test_a_warning_that_becomes_critical_is_one_alert_with_two_notifications(harness):
    harness.upload(finding())
    harness.upload(finding(transition="changed", severity="critical", step=140))
    alert = harness.alert()
    assert (alert["state"], alert["severity"], alert["opened_step"]) == ("firing", "critical", 100)
    assert len(harness.call("GET", "/v1/alerts").json()["items"]) == 1
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])] * 2
    names = ("event", "from_state", "to_state", "severity", "step")
    assert [tuple(event[name] for name in names) for event in harness.events()] == [
        ("raised", None, "firing", "warning", 100),
        ("escalated", "firing", "firing", "critical", 140),
    ]


def test_an_acknowledgement_has_a_name_and_a_note_and_ends_with_the_alert(harness):
    harness.upload(finding())
    response = harness.act("acknowledge", author="Ada", note="halving the rate")
    assert response.json()["state"] == "acknowledged"
    assert response.json()["acknowledged"] == {
        "author": "Ada",
        "note": "halving the rate",
        "at": "2026-01-01T00:00:00Z",
    }
    harness.upload(finding(transition="resolved", step=200))
    alert = harness.alert()
    assert (alert["state"], alert["acknowledged"], alert["resolved_step"]) == ("resolved", None, 200)
    assert alert["resolved_reason"] == "it is over"
    notified = [event for event, _ in harness.take_notifications()]
    assert notified == ["alert.firing", "alert.acknowledged", "alert.resolved"]
    events = [(event["event"], event["author"], event["note"]) for event in harness.events()]
    assert events[1:] == [("acknowledged", "Ada", "halving the rate"), ("cleared", None, "it is over")]


def test_an_acknowledged_alert_that_gets_worse_fires_again(harness):
    harness.upload(finding())
    harness.act("acknowledge")
    harness.take_notifications()
    harness.upload(finding(transition="changed", severity="critical"))
    assert (harness.alert()["state"], harness.alert()["acknowledged"]) == ("firing", None)
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]


def test_a_resolved_alert_that_is_raised_again_has_regressed(harness):
    harness.upload(finding())
    harness.upload(finding(transition="resolved"))
    harness.upload(finding(step=300))
    alert = harness.alert()
    assert (alert["state"], alert["opened_step"], alert["resolved_step"]) == ("regressed", 100, None)
    assert harness.states() == ["firing", "resolved", "regressed"]
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing", "alert.resolved", "alert.firing"]


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_a_resolved_alert_can_be_neither_acknowledged_nor_resolved(harness, action):
    harness.upload(finding())
    assert harness.act("resolve").status_code == 200
    answer = harness.act(action)
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_resolved")
    assert harness.states() == ["firing", "resolved"]


def test_a_second_person_is_answered_who_acknowledged_first(harness):
    harness.upload(finding())
    assert harness.act("acknowledge", author="Ada").status_code == 200
    repeated = harness.act("acknowledge", author="Ada", note="repeated")
    assert (repeated.status_code, repeated.json()["acknowledged"]["note"]) == (200, "")
    answer = harness.act("acknowledge", author="Grace")
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_acknowledged")
    assert "Ada" in answer.json()["detail"]
    assert harness.states() == ["firing", "acknowledged"]


def test_exactly_one_of_many_concurrent_acknowledgements_succeeds(harness):
    harness.upload(finding())
    names = [f"person {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: harness.act("acknowledge", author=name), names))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    winner = next(name for name, answer in zip(names, answers, strict=True) if answer.status_code == 200)
    assert harness.alert()["acknowledged"]["author"] == winner
    assert all(winner in answer.json()["detail"] for answer in answers if answer.status_code == 409)
    assert harness.states() == ["firing", "acknowledged"]
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing", "alert.acknowledged"]


def test_a_resolve_concurrent_with_an_acknowledgement_is_never_lost(harness):
    harness.upload(*(finding(layer_id) for layer_id in range(1, 7)))
    actions = [(action, layer_id) for layer_id in range(1, 7) for action in ("acknowledge", "resolve")]
    with ThreadPoolExecutor(8) as pool:
        responses = pool.map(lambda action: harness.act(*action), actions)
        status_codes = {action: response.status_code for action, response in zip(actions, responses, strict=True)}
    for layer_id in range(1, 7):
        assert status_codes["resolve", layer_id] == 200
        acknowledged = ["acknowledged"] if status_codes["acknowledge", layer_id] == 200 else []
        assert harness.states(layer_id=layer_id) == ["firing", *acknowledged, "resolved"]


def test_an_alert_resolved_by_a_person_stays_resolved_until_the_detector_raises_it_again(harness):
    harness.upload(finding())
    answer = harness.act("resolve", author="Ada", note="known")
    assert (answer.json()["state"], answer.json()["resolved_reason"]) == ("resolved", "by Ada: known")
    harness.upload(finding(transition="changed"))
    harness.upload(finding(transition="resolved"))
    assert harness.states() == ["firing", "resolved"]
    assert harness.alert()["resolved_reason"] == "by Ada: known"
    harness.upload(finding(step=500))
    assert harness.alert()["state"] == "regressed"
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing", "alert.resolved", "alert.firing"]


def test_an_alert_resolved_by_a_person_regresses_when_it_gets_worse(harness):
    harness.upload(finding())
    harness.act("resolve")
    harness.upload(finding(transition="changed", severity="critical", step=160))
    assert (harness.alert()["state"], harness.alert()["severity"]) == ("regressed", "critical")
    assert harness.states() == ["firing", "resolved", "regressed"]


@pytest.mark.parametrize("outcome", ["finished", "failed"])
def test_the_end_of_a_run_ends_its_open_alerts_and_sends_a_summary(harness, outcome):
    harness.upload(finding(1), finding(2, severity="info"), finding(3, "no_data"))
    harness.take_notifications()
    alerts = harness.upload(final_status=outcome)
    assert {(a.kind, a.state, a.outcome, a.resolved_at) for a in alerts} == {
        ("dying", "ended", "at_risk", None),
        ("no_data", "ended", "at_risk", None),
    }
    assert all(alert.ended_at and alert.ended_step is not None for alert in alerts)
    assert harness.take_notifications() == [("run.finished", [])]
    assert harness.states(layer_id=3, kind="no_data") == ["pending", "ended"]
    assert harness.run_status() == outcome


def test_a_run_ended_by_a_person_is_notified_once(harness):
    harness.upload(finding())
    harness.take_notifications()
    assert harness.call("PATCH", "/v1/runs/r1", json={"status": "finished"}).json()["open_alerts"] == 0
    assert harness.take_notifications() == [("run.finished", [])]
    harness.call("PATCH", "/v1/runs/r1", json={"status": "failed"})
    harness.upload(final_status="finished")
    assert harness.take_notifications() == []


def test_alerts_that_were_open_when_a_run_ended_reopen_when_it_resumes(harness):
    harness.upload(finding(1, "dead", severity="critical"), finding(2), finding(3, "no_data"))
    harness.act("resolve", 2)
    harness.upload(final_status="finished")
    harness.take_notifications()
    harness.upload(session="s2")
    assert harness.run_status() == "running"
    assert harness.alert(1, "dead")["state"] == "firing"
    assert harness.alert(1, "dead")["outcome"] is None
    assert harness.alert(2)["state"] == "resolved"  # a person resolved it
    assert harness.alert(3, "no_data")["state"] == "pending"
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    harness.upload(session="s2", final_status="finished")
    assert harness.take_notifications() == [("run.finished", [])]


def test_a_person_who_works_on_an_alert_does_so_still_after_the_run_resumed(harness):
    harness.upload(finding(1))
    harness.act("acknowledge", author="Ada", note="lowering lr")
    harness.upload(final_status="finished")
    assert harness.alert()["acknowledged"]["author"] == "Ada"
    harness.take_notifications()
    harness.upload(session="s2")
    assert (harness.alert()["state"], harness.alert()["acknowledged"]["author"]) == ("acknowledged", "Ada")
    assert harness.take_notifications() == []


def test_a_layer_that_was_dying_and_is_dead_has_one_alert_that_fires_once_more(harness):
    harness.upload(finding(1, severity="critical", step=100))
    harness.act("acknowledge", author="Ada")
    harness.take_notifications()
    (alert,) = harness.upload(finding(1, "dead", severity="critical", step=150))
    assert (alert.id, alert.kind, alert.state) == ("r1.1.dying", "dead", "firing")
    assert (alert.opened_step, alert.dead_step, alert.resolved_step) == (100, 150, None)
    assert "dead" in alert.title
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    assert harness.states() == ["firing", "acknowledged", "firing"]


def test_a_dead_layer_is_no_less_severe_than_it_was_when_dying(harness):
    harness.upload(finding(1, severity="critical"))
    (alert,) = harness.upload(finding(1, "dead", severity="info"))
    assert (alert.kind, alert.severity) == ("dead", "critical")


def test_a_layer_whose_units_return_and_die_again_has_the_same_alert(harness):
    harness.upload(finding(1, "dead", severity="critical", step=100))
    harness.upload(finding(1, "dead", "resolved", severity="critical", step=120))
    assert (harness.alert()["state"], harness.alert()["outcome"]) == ("resolved", "recovered")
    (alert,) = harness.upload(finding(1, "dying", step=150))
    assert (alert.kind, alert.state, alert.dead_step) == ("dying", "regressed", None)


@pytest.mark.parametrize("action", ["resolve", "acknowledge"])
def test_an_alert_that_ended_with_its_run_can_be_closed_but_not_acknowledged(harness, action):
    harness.upload(finding(1))
    harness.upload(final_status="finished")
    harness.take_notifications()
    answer = harness.act(action, author="Ada")
    if action == "acknowledge":
        assert answer.status_code == 409
        return
    assert (answer.json()["state"], answer.json()["outcome"]) == ("resolved", "closed")
    assert harness.take_notifications() == [("alert.resolved", ["1.dying"])]


def test_an_alert_raised_and_resolved_within_one_upload_is_notified_both_times(harness):
    harness.upload(finding(), finding(transition="resolved"), finding(2), final_status="finished")
    assert harness.take_notifications() == [
        ("alert.firing", ["1.dying", "2.dying"]),
        ("alert.resolved", ["1.dying"]),
        ("run.finished", []),
    ]


def test_one_upload_makes_one_notification_for_each_event(harness):
    harness.upload(finding(1), finding(2))
    harness.take_notifications()
    harness.upload(finding(1, transition="resolved"), finding(2, transition="resolved"), finding(3), finding(4))
    assert harness.take_notifications() == [
        ("alert.firing", ["3.dying", "4.dying"]),
        ("alert.resolved", ["1.dying", "2.dying"]),
    ]


def test_events_come_in_pages(harness):
    harness.upload(finding())
    for _ in range(3):
        harness.upload(finding(transition="resolved"))
        harness.upload(finding())
    path, cursor, numbers = "/v1/alerts/r1.1.dying/events", "", []
    while cursor is not None:
        page = harness.call("GET", f"{path}?limit=3{cursor and f'&cursor={cursor}'}").json()
        numbers += [event["event_number"] for event in page["items"]]
        cursor = page["next_cursor"]
    assert numbers == list(range(1, 8))
    assert harness.call("GET", f"{path}?cursor=none").json()["code"] == "invalid_cursor"
    assert harness.call("GET", "/v1/alerts/r1.9.dying/events").json()["code"] == "alert_not_found"


def test_nothing_is_written_where_the_block_of_a_locked_run_raises(harness):
    harness.upload()

    def change_and_fail(connection):
        run = run_repository.lock(connection, "r1")
        with run_alerts.locked(connection, run, harness.now, enqueue=harness.record) as alerts:
            alerts.apply(alerts.get_or_new(1, "dying"), AlertEvent("raised", harness.now, 5, "warning"))
            alerts.finish_run()
            raise KeyError

    def commit_all_the_same(connection):
        with pytest.raises(KeyError):
            change_and_fail(connection)

    harness.database.write(commit_all_the_same)
    assert harness.call("GET", "/v1/alerts").json()["items"] == []
    assert harness.take_notifications() == []


def test_deleting_a_run_deletes_its_alerts_and_their_events(harness):
    harness.upload(finding())
    assert harness.call("DELETE", "/v1/runs/r1").status_code == 204
    assert harness.call("GET", "/v1/alerts/r1.1.dying/events").status_code == 404
    harness.upload(finding(), session="s2")
    assert harness.states() == ["firing"]
