"""One notification for each run, webhook and event: alerts that change together are sent together while they hold."""

from __future__ import annotations

import pytest

from relumine_server.settings import Settings
from relumine_server.webhooks import payloads
from relumine_server.webhooks.dispatcher import WebhookDispatcher

RUN = "run1"
BASE_URL = "http://127.0.0.1:7358"


def totals(receiver):
    return [body["data"]["total"] for body in receiver.bodies]


def test_the_first_notification_of_a_run_is_sent_at_once_and_later_ones_are_grouped_each_alert_once(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    for layer in (2, 3, 2, 3, 4):
        outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, layer))
        assert outbox.send_due(seconds=1) == 0
    assert outbox.send_due(seconds=24) == 0
    assert outbox.send_due(seconds=1) == 1
    assert receiver.notifications == [("firing", [1]), ("firing", [2, 3, 4])]


def test_another_run_and_another_webhook_with_its_own_wait_are_grouped_separately(outbox, receiver, second_receiver):
    outbox.add_webhook(receiver.url)
    outbox.add_webhook(second_receiver.url, group_wait_s=0.0)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 2))
    outbox.enqueue("alert.firing", "run2", outbox.store_alert("run2", 9))
    outbox.send_due()
    assert receiver.notifications == [("firing", [1]), ("firing", [9])]
    assert second_receiver.notifications == [("firing", [1]), ("firing", [2]), ("firing", [9])]


def test_ten_thousand_alerts_at_once_are_one_notification_for_each_webhook(outbox, receiver, second_receiver):
    webhooks = [outbox.add_webhook(url) for url in (receiver.url, second_receiver.url)]
    alerts = outbox.store_alerts(RUN, 10_000, critical_layer=777)
    assert outbox.enqueue("alert.firing", RUN, *alerts) == 2
    outbox.enqueue("alert.firing", RUN, *alerts[::2])
    rows = outbox.deliveries()
    expected = [(webhook.webhook_id, 10_000) for webhook in webhooks]
    assert [(row.webhook_id, row.alert_count) for row in rows] == expected
    assert rows[0].alert_refs == {"dying": [[1, 10_000]]}
    outbox.send_due()
    for server in (receiver, second_receiver):
        assert totals(server) == [10_000]
        assert server.bodies[0]["data"]["alerts"][0]["layer_id"] == 777


def test_alerts_that_change_while_a_payload_is_rendered_are_in_it(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1, state="resolved"))
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 2))
    drafts = []

    def render(*arguments):
        drafts.append(payloads.render(*arguments, base_url=BASE_URL))
        if len(drafts) == 1:
            regressed = outbox.store_alert(RUN, 1, state="regressed")
            outbox.enqueue("alert.firing", RUN, regressed, outbox.store_alert(RUN, 3))
        return drafts[-1]

    WebhookDispatcher(outbox.database, Settings(webhook_allow_loopback=True), outbox.clock, render=render).run_once()
    assert [draft.revision for draft in drafts] == [1, 2]
    assert receiver.notifications == [("firing", [1, 2, 3])]


def test_the_twenty_most_severe_alerts_are_in_the_body_and_all_are_counted(outbox, receiver):
    outbox.add_webhook(receiver.url)
    alerts = [
        outbox.store_alert(RUN, layer, severity="critical" if layer > 30 else "warning") for layer in range(1, 51)
    ]
    outbox.enqueue("alert.firing", RUN, *alerts)
    outbox.send_due()
    assert totals(receiver) == [50]
    assert receiver.notifications == [("firing", list(range(31, 51)))]
    assert outbox.deliveries()[0].alert_count == 50


def test_an_alert_resolved_before_its_firing_was_sent_is_sent_neither_as_firing_nor_as_resolved(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 2), outbox.store_alert(RUN, 3))
    outbox.enqueue("alert.resolved", RUN, outbox.store_alert(RUN, 2, state="resolved"))
    outbox.send_due(seconds=31)
    assert receiver.notifications == [("firing", [1]), ("firing", [3])]
    assert [(row.state, row.status_reason, row.alert_count) for row in outbox.deliveries()] == [
        ("delivered", None, 1),
        ("delivered", None, 1),
        ("cancelled", "superseded", 0),
    ]


def test_an_alert_sent_as_firing_is_sent_as_resolved_also_when_its_repeat_was_not_sent(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1, severity="critical"))
    outbox.enqueue("alert.resolved", RUN, outbox.store_alert(RUN, 1, severity="critical", state="resolved"))
    outbox.send_due(seconds=31)
    outbox.send_due(seconds=31)
    assert receiver.notifications == [("firing", [1]), ("resolved", [1])]


def test_an_alert_that_regressed_before_its_resolution_was_sent_is_sent_as_firing(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.enqueue("alert.resolved", RUN, outbox.store_alert(RUN, 1, state="resolved"))
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1, state="regressed"))
    outbox.send_due(seconds=31)
    outbox.enqueue("alert.resolved", RUN, outbox.store_alert(RUN, 1, state="resolved"))
    outbox.send_due(seconds=31)
    assert receiver.notifications == [("firing", [1]), ("firing", [1]), ("resolved", [1])]


def test_each_webhook_is_sent_the_resolution_of_the_alerts_it_was_sent(outbox, receiver, second_receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.add_webhook(second_receiver.url)  # too late for the first alert
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 2))
    outbox.send_due(seconds=31)
    resolved = [outbox.store_alert(RUN, layer, state="resolved") for layer in (1, 2)]
    outbox.enqueue("alert.resolved", RUN, *resolved)
    outbox.send_due(seconds=31)
    assert receiver.notifications[-1] == ("resolved", [1, 2])
    assert second_receiver.notifications == [("firing", [2]), ("resolved", [2])]


def test_a_webhook_that_subscribes_to_resolutions_only_is_sent_them_by_severity(outbox, receiver):
    outbox.add_webhook(receiver.url, events=["alert.resolved"], min_severity="critical")
    warning = outbox.store_alert(RUN, 1, state="resolved")
    critical = outbox.store_alert(RUN, 2, state="resolved", severity="critical")
    outbox.enqueue("alert.resolved", RUN, warning, critical)
    outbox.send_due()
    assert receiver.notifications == [("resolved", [2])]


def test_notifications_of_a_run_keep_their_order(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1), outbox.store_alert(RUN, 2))
    outbox.enqueue("alert.acknowledged", RUN, outbox.store_alert(RUN, 1, state="acknowledged"))
    outbox.enqueue("alert.resolved", RUN, outbox.store_alert(RUN, 2, state="resolved"))
    outbox.store_alert(RUN, 2)  # it fires again when the first payload is rendered
    outbox.send_due()
    outbox.store_alert(RUN, 2, state="resolved")
    outbox.send_due(seconds=31)
    assert receiver.notifications == [("firing", [1, 2]), ("acknowledged", [1]), ("resolved", [2])]


@pytest.mark.parametrize(("min_severity", "layers"), [("info", [1, 2, 3]), ("warning", [2, 3]), ("critical", [3])])
def test_alerts_below_the_minimum_severity_are_not_sent(min_severity, layers, outbox, receiver):
    outbox.add_webhook(receiver.url, min_severity=min_severity)
    severities = {1: "info", 2: "warning", 3: "critical"}
    alerts = [outbox.store_alert(RUN, layer, severity=severity) for layer, severity in severities.items()]
    outbox.enqueue("alert.firing", RUN, *alerts)
    outbox.send_due()
    assert receiver.notifications == [("firing", layers)]


def test_a_webhook_for_critical_alerts_is_notified_when_a_warning_becomes_critical(outbox, receiver):
    outbox.add_webhook(receiver.url, min_severity="critical")
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    assert outbox.deliveries() == []
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1, severity="critical"))
    outbox.send_due()
    assert receiver.notifications == [("firing", [1])]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (None, True),
        ("digits", True),
        ("dig*", True),
        ("d?gits", True),
        ("other", False),
        ("dig", False),
        ("[d]igits", False),
    ],
)
def test_project_is_a_name_or_a_pattern(pattern, matches, outbox, receiver):
    outbox.add_webhook(receiver.url, project=pattern)
    assert outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1)) == matches


def test_a_bracket_in_a_project_name_is_literal(outbox, receiver):
    outbox.add_webhook(receiver.url, project="a[1]*")
    assert outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1), project="a[1]b") == 1
    assert outbox.enqueue("alert.firing", "run2", outbox.store_alert("run2", 1), project="a1") == 0


def test_notifications_of_a_deleted_run_are_cancelled(outbox, receiver):
    outbox.add_webhook(receiver.url)
    outbox.enqueue("alert.firing", "deleted", (1, "dying", "critical"))
    assert outbox.send_due() == 0
    assert [(row.state, row.status_reason) for row in outbox.deliveries()] == [("cancelled", "superseded")]
