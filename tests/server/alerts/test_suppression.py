"""Suppressed notifications: alerts explained by a lost layer upstream or a divergence, and silences."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relumine.schemas import alert
from tests.helpers.alert_harness import START, finding

HOUR = (START + timedelta(hours=1)).isoformat()


def silence(harness, matchers, ends_at=HOUR, **more):
    return harness.call(
        "POST", "/v1/silences", json={"matchers": matchers, "ends_at": ends_at, "author": "Ada", **more}
    )


def test_a_lost_layer_inhibits_the_layers_behind_it_until_it_recovers(harness):
    harness.upload(
        finding(1, "dead", severity="critical"), finding(2, upstream=[1]), finding(3, "dead", upstream=[1, 2])
    )
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    inhibited = harness.alert(2)
    assert (inhibited["state"], inhibited["inhibited_by"]) == ("firing", "r1.1.dying")
    assert harness.alert(1, "dead")["inhibited_by"] is None
    harness.upload(finding(1, "dead", "resolved"))
    assert harness.take_notifications() == [("alert.firing", ["2.dying", "3.dying"]), ("alert.resolved", ["1.dying"])]
    assert harness.alert(2)["inhibited_by"] is None


def test_an_inhibited_alert_that_resolves_before_its_cause_is_never_notified(harness):
    harness.upload(finding(1, "dead", severity="critical"), finding(2, upstream=[1]))
    harness.upload(finding(2, transition="resolved"))
    harness.upload(finding(1, "dead", "resolved"))
    assert harness.take_notifications() == [("alert.firing", ["1.dying"]), ("alert.resolved", ["1.dying"])]


@pytest.mark.parametrize(
    ("cause", "inhibits"),
    [
        (finding(1, "dead", severity="critical"), True),
        (finding(1, "born_dead", severity="critical"), True),
        (finding(1, "dying", severity="critical"), True),
        (finding(1, "dying", severity="warning"), False),
        (finding(1, "dead", severity="info"), False),
        (finding(1, "no_data", severity="warning"), False),
    ],
    ids=lambda value: f"{value.severity} {value.kind}" if hasattr(value, "kind") else "",
)
def test_only_a_layer_that_is_surely_lost_inhibits_others(harness, cause, inhibits):
    harness.upload(cause, finding(2, upstream=[1]))
    assert (harness.alert(2)["inhibited_by"] is not None) is inhibits


def test_an_alert_with_another_cause_is_not_inhibited(harness):
    harness.upload(finding(1, "dead", severity="critical"), finding(2), finding(3, upstream=[5]))
    assert harness.take_notifications() == [("alert.firing", ["1.dying", "2.dying", "3.dying"])]


def test_a_divergence_inhibits_all_other_alerts_of_its_run_alone(harness):
    harness.upload(finding(0, "diverged", severity="critical"), finding(1, "dead", severity="critical"), finding(2))
    harness.upload(finding(1), run="r2")
    assert harness.take_notifications() == [("alert.firing", ["0.diverged"]), ("alert.firing", ["1.dying"])]
    assert {harness.alert(1, "dead")["inhibited_by"], harness.alert(2)["inhibited_by"]} == {"r1.0.diverged"}
    harness.upload(finding(0, "diverged", "resolved"))
    assert harness.take_notifications()[0] == ("alert.firing", ["1.dying", "2.dying"])


def test_an_alert_notified_before_it_was_inhibited_is_notified_when_it_resolves(harness):
    harness.upload(finding(2))
    harness.upload(finding(0, "diverged", severity="critical"))
    harness.take_notifications()
    harness.upload(finding(2, transition="resolved"))
    assert harness.take_notifications() == [("alert.resolved", ["2.dying"])]


@pytest.mark.parametrize(
    ("matchers", "matches"),
    [
        ({"project": "digits"}, True),
        ({"project": "digit"}, False),
        ({"project": "Digits"}, False),
        ({"run_id": "r1", "name": "base*", "group": "g?"}, True),
        ({"layer": "act[12]", "kind": "dying", "severity": "warning", "cause": "unknown"}, True),
        ({"layer": "act2"}, False),
        ({"project": "digits", "kind": "dead"}, False),
    ],
)
def test_an_alert_is_silenced_when_it_matches_every_matcher(harness, matchers, matches):
    assert silence(harness, matchers).status_code == 201
    harness.upload(finding(1), group="g1")
    assert (harness.alert()["silenced_by"] is not None, harness.alert()["state"]) == (matches, "firing")
    assert harness.take_notifications() == ([] if matches else [("alert.firing", ["1.dying"])])


def test_a_value_that_an_alert_lacks_matches_nothing(harness):
    silence(harness, {"group": "*"})
    silence(harness, {"layer": "*"})
    harness.upload(finding(0, "constant_output", severity="critical"))
    assert harness.alert(0, "constant_output")["silenced_by"] is None


def test_a_new_silence_applies_to_open_alerts_at_once_and_they_are_notified_when_it_ends(harness):
    harness.upload(finding(1, severity="info"), finding(2))
    harness.take_notifications()
    created = alert.Silence.model_validate(silence(harness, {"project": "digits"}, comment="a sweep").json())
    assert (created.active, created.matched, created.author, created.comment) == (True, 2, "Ada", "a sweep")
    assert harness.alert(2)["silenced_by"] == created.silence_id
    harness.upload(finding(2, transition="changed", severity="critical"), finding(3))
    assert harness.take_notifications() == []
    harness.now += timedelta(minutes=59)
    harness.upload()
    harness.evaluator.run_once()
    assert harness.take_notifications() == []
    harness.wait(minutes=1)
    assert harness.take_notifications() == [("alert.firing", ["2.dying", "3.dying"])]
    assert harness.alert(3)["silenced_by"] is None
    assert harness.wait(seconds=1) == 0


def test_a_deleted_silence_ends_at_once(harness):
    created = silence(harness, {"run_id": "r1"}).json()
    harness.upload(finding(1))
    assert harness.call("DELETE", f"/v1/silences/{created['silence_id']}").status_code == 204
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    answer = harness.call("DELETE", f"/v1/silences/{created['silence_id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "silence_not_found")


def test_a_silence_begins_at_its_start_time(harness):
    silence(harness, {"run_id": "*"}, starts_at=(START + timedelta(minutes=30)).isoformat())
    harness.upload(finding(1))
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    harness.now += timedelta(minutes=30)
    harness.upload()
    harness.evaluator.run_once()
    assert harness.alert()["silenced_by"] is not None


def test_an_alert_acknowledged_while_silenced_is_never_notified(harness):
    silence(harness, {"run_id": "r1"})
    harness.upload(finding(1))
    harness.act("acknowledge")
    for _ in range(4):
        harness.upload()
        harness.wait(minutes=30)
    harness.upload(finding(1, transition="resolved"))
    assert harness.take_notifications() == []


def test_silences_come_in_pages_and_are_deleted_long_after_their_end(harness):
    silence_ids = []
    for number in range(5):
        harness.now += timedelta(seconds=1)
        silence_ids.append(silence(harness, {"layer": f"act{number}"}).json()["silence_id"])
    first = harness.call("GET", "/v1/silences?limit=3").json()
    rest = harness.call("GET", f"/v1/silences?limit=3&cursor={first['next_cursor']}").json()
    assert [item["silence_id"] for item in first["items"] + rest["items"]] == silence_ids[::-1]
    assert rest["next_cursor"] is None
    harness.wait(hours=2)
    assert [item["active"] for item in harness.call("GET", "/v1/silences").json()["items"]] == [False] * 5
    harness.wait(days=31)
    assert harness.call("GET", "/v1/silences").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"matchers": {}, "ends_at": HOUR, "author": "Ada"}, "invalid_silence"),
        ({"matchers": {"run_id": "r1"}, "ends_at": START.isoformat(), "author": "Ada"}, "invalid_silence"),
        ({"matchers": {"run_id": "r1"}, "starts_at": HOUR, "ends_at": HOUR, "author": "Ada"}, "invalid_silence"),
        ({"matchers": {"run_id": "r1"}, "ends_at": "9999-12-31T23:59:59Z", "author": "Ada"}, "invalid_silence"),
        ({"matchers": {"run_id": "r1"}, "ends_at": "9999-12-31T23:59:59-12:00", "author": "Ada"}, "invalid_silence"),
        ({"matchers": {"run_id": "r1"}, "ends_at": "2026-01-01T01:00:00", "author": "Ada"}, "invalid_request"),
        ({"matchers": {"run_id": "r1"}, "ends_at": HOUR, "author": ""}, "invalid_request"),
        ({"matchers": {"model": "r1"}, "ends_at": HOUR, "author": "Ada"}, "invalid_request"),
        ({"matchers": {"layer": "a\u0000"}, "ends_at": HOUR, "author": "Ada"}, "invalid_request"),
        ({"matchers": {"layer": "x" * 5000}, "ends_at": HOUR, "author": "Ada"}, "invalid_request"),
        ({"matchers": {"layer": ["a"]}, "ends_at": HOUR, "author": "Ada"}, "invalid_request"),
    ],
)
def test_an_invalid_silence_is_rejected(harness, body, code):
    answer = harness.call("POST", "/v1/silences", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert harness.call("GET", "/v1/silences").json()["items"] == []


def test_a_start_in_the_past_is_now(harness):
    assert silence(harness, {"run_id": "r1"}, starts_at="2020-01-01T00:00:00+14:00").json()["active"] is True
