"""Alerts of one run and cause are one incident: one notification, and another one where it gets worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relumine_server.alerts.incidents import Onset, find_incident, new_incident, topic_of
from tests.helpers.alert_harness import finding

LAYERS = 60


def incident_of(harness, layer_id=1, kind="dying"):
    return harness.alert(layer_id, kind)["incident_id"]


def caused(cause, *arguments, **options):
    return replace(finding(*arguments, **options), cause=cause)


@pytest.mark.parametrize(
    ("onset", "joins"),
    [
        (Onset("dying", "high_learning_rate", 1_000), True),
        (Onset("dead", "high_learning_rate", 1_500), True),
        (Onset("dying", "high_learning_rate", 1_501), False),
        (Onset("dying", "high_learning_rate", 499), False),
        (Onset("dying", "negative_bias", 1_000), False),
        (Onset("dying", "unknown", 1_000), True),
        (Onset("dying", "upstream_collapse", 1_400), True),
        (Onset("dying", "upstream_collapse", 9_000), False),
        (Onset("dying", "upstream_collapse", 9_000, ["r1.1"]), True),
        (Onset("diverged", "high_learning_rate", 1_100), True),
        (Onset("no_data", "unknown", 1_000), False),
        (Onset("stalled", "unknown", 1_000), False),
    ],
)
def test_an_alert_joins_the_incident_with_its_cause_and_an_onset_nearby(onset, joins):
    incident = new_incident("r1.1", Onset("dying", "high_learning_rate", 1_000), "warning")
    assert (find_incident(onset, [incident]) is not None) == joins
    assert find_incident(onset, []) is None


def test_missing_data_and_stalls_are_topics_of_their_own():
    assert topic_of("no_data") != topic_of("stalled") != topic_of("dying") == topic_of("diverged")


def test_sixty_layers_that_die_one_after_the_other_are_three_notifications(harness):
    harness.upload(layers=LAYERS)
    for layer_id in range(1, LAYERS + 1):
        harness.upload(caused("high_learning_rate", layer_id, step=100 + layer_id))
    for layer_id in range(1, LAYERS + 1):
        harness.upload(caused("high_learning_rate", layer_id, "dying", "changed", "critical", step=200 + layer_id))
    for layer_id in range(1, LAYERS + 1):
        harness.upload(caused("high_learning_rate", layer_id, "dead", severity="critical", step=300 + layer_id))
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing"] * 3  # dying, critical, dead
    assert {incident_of(harness, layer_id) for layer_id in range(1, LAYERS + 1)} == {"r1.1"}


def test_a_notification_of_an_incident_that_got_worse_has_all_its_alerts(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(caused("high_learning_rate", 2))
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    harness.upload(caused("high_learning_rate", 3, severity="critical"))
    assert harness.take_notifications() == [("alert.firing", ["1.dying", "2.dying", "3.dying"])]


def test_another_cause_is_another_incident_with_its_own_notification(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(caused("negative_bias", 2))
    assert incident_of(harness, 1) != incident_of(harness, 2)
    assert harness.take_notifications() == [("alert.firing", ["1.dying"]), ("alert.firing", ["2.dying"])]


def test_an_alert_that_is_left_when_the_others_recovered_is_notified(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(caused("high_learning_rate", 2))
    harness.take_notifications()
    harness.upload(caused("high_learning_rate", 1, transition="resolved"))
    assert sorted(harness.take_notifications()) == [("alert.firing", ["2.dying"]), ("alert.resolved", ["1.dying"])]


def test_an_incident_that_is_over_does_not_take_up_new_alerts(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(caused("high_learning_rate", 1, transition="resolved"))
    harness.upload(caused("high_learning_rate", 2))
    assert incident_of(harness, 1) != incident_of(harness, 2)


def test_a_layer_that_is_starved_belongs_to_the_incident_of_the_layer_before_it(harness):
    harness.upload(caused("high_learning_rate", 1, "dead", severity="critical", step=100))
    harness.upload(finding(3, upstream=[1], step=9_000))
    assert incident_of(harness, 3) == incident_of(harness, 1)


def test_layers_that_join_an_acknowledged_incident_are_not_notified_of(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.act("acknowledge", author="Ada")
    harness.take_notifications()
    harness.upload(caused("high_learning_rate", 2))
    assert harness.take_notifications() == []
    harness.upload(caused("high_learning_rate", 2, "dead", severity="critical"))
    assert harness.take_notifications() == [("alert.firing", ["2.dying"])]


def test_a_reminder_has_all_alerts_of_the_incident(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(caused("high_learning_rate", 2))
    harness.take_notifications()
    harness.wait(hours=4)
    assert ("alert.firing", ["1.dying", "2.dying"]) in harness.take_notifications()


def test_a_resumed_run_goes_on_with_its_incident(harness):
    harness.upload(caused("high_learning_rate", 1))
    harness.upload(final_status="finished")
    harness.upload(session="s2")
    assert incident_of(harness, 1) == "r1.1"
