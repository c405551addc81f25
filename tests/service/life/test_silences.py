"""What keeps alerts quiet: a cause further up the stream, a divergence, and what people do not want to hear of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from alert_world import START, found

from relumine import views

HOUR = (START + timedelta(hours=1)).isoformat()


def silence(world, matchers, ends_at=HOUR, **more):
    return world.call("POST", "/v1/silences", json={"matchers": matchers, "ends_at": ends_at, "author": "Ada", **more})


def test_a_lost_layer_mutes_its_victims_until_it_is_mended(world):
    world.upload(found(1, "dead", severity="critical"), found(2, upstream=[1]), found(3, "dead", upstream=[1, 2]))
    assert world.events() == [("alert.firing", ["1.dead"])]
    victim = world.alert(2)
    assert (victim["state"], victim["muted_by"]) == ("firing", "r1.1.dead")
    assert world.alert(1, "dead")["muted_by"] is None
    world.upload(found(1, "dead", "resolved"))
    assert world.events() == [("alert.firing", ["2.dying", "3.dead"]), ("alert.resolved", ["1.dead"])]
    assert world.alert(2)["muted_by"] is None


def test_a_victim_that_recovers_before_its_cause_is_never_told(world):
    world.upload(found(1, "dead", severity="critical"), found(2, upstream=[1]))
    world.upload(found(2, transition="resolved"))
    world.upload(found(1, "dead", "resolved"))
    assert world.events() == [("alert.firing", ["1.dead"]), ("alert.resolved", ["1.dead"])]


@pytest.mark.parametrize(
    ("cause", "mutes"),
    [
        (found(1, "dead", severity="critical"), True),
        (found(1, "born_dead", severity="critical"), True),
        (found(1, "dying", severity="critical"), True),
        (found(1, "dying", severity="warning"), False),
        (found(1, "dead", severity="info"), False),
        (found(1, "no_data", severity="warning"), False),
    ],
    ids=lambda one: f"{one.severity} {one.kind}" if hasattr(one, "kind") else "",
)
def test_only_what_is_lost_for_sure_explains_others(world, cause, mutes):
    world.upload(cause, found(2, upstream=[1]))
    assert (world.alert(2)["muted_by"] is not None) is mutes


def test_another_cause_than_the_layer_before_is_told(world):
    world.upload(found(1, "dead", severity="critical"), found(2), found(3, upstream=[5]))
    assert world.events() == [("alert.firing", ["1.dead", "2.dying", "3.dying"])]


def test_a_divergence_mutes_the_rest_of_its_run_and_no_other(world):
    world.upload(found(0, "diverged", severity="critical"), found(1, "dead", severity="critical"), found(2))
    world.upload(found(1), run="r2")
    assert world.events() == [("alert.firing", ["0.diverged"]), ("alert.firing", ["1.dying"])]
    assert {world.alert(1, "dead")["muted_by"], world.alert(2)["muted_by"]} == {"r1.0.diverged"}
    world.upload(found(0, "diverged", "resolved"))
    assert world.events()[0] == ("alert.firing", ["1.dead", "2.dying"])


def test_what_was_told_before_it_was_muted_is_told_when_it_is_over(world):
    world.upload(found(2))
    world.upload(found(0, "diverged", severity="critical"))
    world.events()
    world.upload(found(2, transition="resolved"))
    assert world.events() == [("alert.resolved", ["2.dying"])]


@pytest.mark.parametrize(
    ("matchers", "holds"),
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
def test_an_alert_is_silenced_when_it_matches_every_matcher(world, matchers, holds):
    assert silence(world, matchers).status_code == 201
    world.upload(found(1), group="g1")
    assert (world.alert()["silenced_by"] is not None, world.alert()["state"]) == (holds, "firing")
    assert world.events() == ([] if holds else [("alert.firing", ["1.dying"])])


def test_what_an_alert_does_not_have_matches_nothing(world):
    silence(world, {"group": "*"})
    silence(world, {"layer": "*"})
    world.upload(found(0, "constant_output", severity="critical"))
    assert world.alert(0, "constant_output")["silenced_by"] is None


def test_open_alerts_show_a_new_silence_at_once_and_are_told_when_it_ends(world):
    world.upload(found(1, severity="info"), found(2))
    world.events()
    made = views.Silence.model_validate(silence(world, {"project": "digits"}, comment="a sweep").json())
    assert (made.active, made.matched, made.author, made.comment) == (True, 2, "Ada", "a sweep")
    assert world.alert(2)["silenced_by"] == made.silence_id
    world.upload(found(2, transition="changed", severity="critical"), found(3))
    assert world.events() == []
    world.now += timedelta(minutes=59)
    world.upload()
    world.sweep.run_once()
    assert world.events() == []
    world.move(minutes=1)
    assert world.events() == [("alert.firing", ["2.dying", "3.dying"])]
    assert world.alert(3)["silenced_by"] is None
    assert world.move(seconds=1) == 0


def test_a_silence_that_is_deleted_lets_go_at_once(world):
    made = silence(world, {"run_id": "r1"}).json()
    world.upload(found(1))
    assert world.call("DELETE", f"/v1/silences/{made['silence_id']}").status_code == 204
    assert world.events() == [("alert.firing", ["1.dying"])]
    answer = world.call("DELETE", f"/v1/silences/{made['silence_id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "silence_not_found")


def test_a_silence_begins_when_it_is_told_to(world):
    silence(world, {"run_id": "*"}, starts_at=(START + timedelta(minutes=30)).isoformat())
    world.upload(found(1))
    assert world.events() == [("alert.firing", ["1.dying"])]
    world.now += timedelta(minutes=30)
    world.upload()
    world.sweep.run_once()
    assert world.alert()["silenced_by"] is not None


def test_an_alert_that_is_acknowledged_while_it_is_silent_stays_quiet(world):
    silence(world, {"run_id": "r1"})
    world.upload(found(1))
    world.act("acknowledge")
    for _ in range(4):
        world.upload()
        world.move(minutes=30)
    world.upload(found(1, transition="resolved"))
    assert world.events() == []


def test_silences_come_in_pages_and_are_forgotten_in_the_end(world):
    made = []
    for number in range(5):
        world.now += timedelta(seconds=1)
        made.append(silence(world, {"layer": f"act{number}"}).json()["silence_id"])
    first = world.call("GET", "/v1/silences?limit=3").json()
    rest = world.call("GET", f"/v1/silences?limit=3&cursor={first['next_cursor']}").json()
    assert [one["silence_id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    world.move(hours=2)
    assert [one["active"] for one in world.call("GET", "/v1/silences").json()["items"]] == [False] * 5
    world.move(days=31)
    assert world.call("GET", "/v1/silences").json()["items"] == []


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
def test_what_is_no_silence_is_refused(world, body, code):
    answer = world.call("POST", "/v1/silences", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert world.call("GET", "/v1/silences").json()["items"] == []


def test_a_beginning_in_the_past_is_now(world):
    assert silence(world, {"run_id": "r1"}, starts_at="2020-01-01T00:00:00+14:00").json()["active"] is True
