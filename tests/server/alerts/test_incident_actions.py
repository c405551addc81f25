"""A person acts on an incident: all of its alerts change at once, and receivers get one notification."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.alert_harness import finding

LAYERS = 6


@pytest.fixture
def incident(harness):
    """The path of an incident of six layers beside another one of the same run; what was notified so far is taken."""
    for layer_id in range(1, LAYERS + 1):
        harness.upload(replace(finding(layer_id, step=100 + layer_id), cause="high_learning_rate"), layers=LAYERS + 1)
    harness.upload(replace(finding(LAYERS + 1, step=9_000), cause="negative_bias"))
    harness.take_notifications()
    return "/v1/incidents/r1.1"


def act(harness, path, action, author="Ada", note=""):
    return harness.call("POST", f"{path}/{action}", json={"author": author, "note": note})


def members(answer):
    return {layer["state"] for layer in answer["layers"]}


def test_an_incident_is_read_by_its_id_as_the_list_has_it(harness, incident):
    listed = harness.call("GET", "/v1/incidents").json()["items"]
    assert [item["id"] for item in listed] == ["r1.2", "r1.1"]
    assert harness.call("GET", incident).json() == listed[1]
    for path in ("/v1/incidents/r1.3", "/v1/incidents/none.1"):
        assert harness.call("GET", path).json()["code"] == "incident_not_found"
        assert act(harness, path, "acknowledge").json()["code"] == "incident_not_found"
    assert harness.call("GET", "/v1/incidents/r1").json()["code"] == "invalid_request"


def test_an_acknowledged_incident_is_one_notification_and_leaves_others_alone(harness, incident):
    answer = act(harness, incident, "acknowledge", note="on it").json()
    assert (answer["state"], members(answer)) == ("open", {"acknowledged"})
    assert harness.alert(1)["acknowledged"]["note"] == "on it"
    notifications = harness.take_notifications()
    assert [event for event, _ in notifications] == ["alert.acknowledged"]
    assert harness.alert(LAYERS + 1)["state"] == "firing"
    assert act(harness, incident, "acknowledge").status_code == 200  # a second time changes nothing
    assert harness.take_notifications() == []


def test_what_another_person_has_acknowledged_stays_that_persons(harness, incident):
    harness.act("acknowledge", 1, author="Bob")
    assert members(act(harness, incident, "acknowledge").json()) == {"acknowledged"}
    assert [harness.alert(layer)["acknowledged"]["author"] for layer in (1, 2)] == ["Bob", "Ada"]
    refused = act(harness, incident, "acknowledge").json()
    assert (refused["status"], refused["code"]) == (409, "alert_acknowledged")
    assert refused["detail"].startswith("Bob has it since ")


def test_a_resolved_incident_is_one_notification_and_cannot_be_changed_again(harness, incident):
    answer = act(harness, incident, "resolve", note="restarted").json()
    assert (answer["state"], members(answer)) == ("resolved", {"resolved"})
    assert harness.alert(3)["resolved_reason"] == "by Ada: restarted"
    assert [event for event, _ in harness.take_notifications()] == ["alert.resolved"]
    for action in ("resolve", "acknowledge"):
        response = act(harness, incident, action)
        assert (response.status_code, response.json()["code"]) == (409, "incident_resolved")


def test_alerts_that_ended_with_their_run_can_be_resolved_and_not_acknowledged(harness, incident):
    harness.upload(final_status="finished")
    assert act(harness, incident, "acknowledge").json()["code"] == "incident_resolved"
    assert act(harness, incident, "resolve").json()["state"] == "resolved"
    assert harness.call("GET", "/v1/incidents/r1.2").json()["state"] == "ended"


def test_a_silence_of_an_incident_holds_its_alerts_and_those_that_join_it(harness, incident):
    ends_at = (harness.now + timedelta(days=1)).isoformat()
    body = {"matchers": {"incident_id": "r1.1"}, "ends_at": ends_at, "author": "Ada"}
    silence = harness.call("POST", "/v1/silences", json=body).json()
    assert (silence["matched"], silence["matchers"]) == (LAYERS, {"incident_id": "r1.1"})
    assert harness.alert(LAYERS + 1)["silenced_by"] is None
    harness.upload(replace(finding(1, "dead", severity="critical", step=150), cause="high_learning_rate"))
    assert harness.take_notifications() == []
    assert harness.call("DELETE", f"/v1/silences/{silence['silence_id']}").status_code == 204
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing"]


def test_a_write_key_acts_on_incidents_of_its_project_only(server):
    theirs = f"/v1/incidents/{server.ids['theirs incident_id']}"
    ours = f"/v1/incidents/{server.ids['ours incident_id']}"
    note = {"author": "Ada"}
    assert server.call("POST", f"{ours}/acknowledge", "ours read", json=note).json()["code"] == "insufficient_scope"
    for method, path, body in (("GET", theirs, None), ("POST", f"{theirs}/resolve", note)):
        options = {} if body is None else {"json": body}
        assert server.call(method, path, "ours write", **options).json()["code"] == "incident_not_found"
    assert server.call("POST", f"{ours}/acknowledge", "ours write", json=note).status_code == 200
