"""One notification per run, webhook and event: what happens together is told together, and only what still holds."""

from __future__ import annotations

import json

import pytest

from relumine_server.webhooks import freezing

RUN = "run1"
WORST = 20


def totals(receiver):
    return [json.loads(body)["data"]["total"] for _, body in receiver.got]


def test_the_first_news_of_a_run_goes_at_once_and_what_follows_is_gathered_each_alert_once(desk, receiver, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    for layer in (2, 3, 2, 3, 4):
        desk.tell("alert.firing", RUN, desk.alert(RUN, layer))
        assert desk.send(seconds=1) == 0
    assert desk.send(seconds=24) == 0
    assert desk.send(seconds=1) == 1
    assert heard(receiver) == [("firing", [1]), ("firing", [2, 3, 4])]


def test_another_run_and_another_webhook_with_its_own_wait_are_told_on_their_own(desk, receiver, another, heard):
    desk.add(receiver.url)
    desk.add(another.url, group_wait_s=0.0)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.tell("alert.firing", RUN, desk.alert(RUN, 2))
    desk.tell("alert.firing", "run2", desk.alert("run2", 9))
    desk.send()
    assert heard(receiver) == [("firing", [1]), ("firing", [9])]
    assert heard(another) == [("firing", [1]), ("firing", [2]), ("firing", [9])]


def test_ten_thousand_alerts_at_once_are_one_notification_for_each_webhook(desk, receiver, another):
    webhooks = [desk.add(url) for url in (receiver.url, another.url)]
    alerts = desk.alerts(RUN, 10_000, worst=777)
    assert desk.tell("alert.firing", RUN, *alerts) == 2
    desk.tell("alert.firing", RUN, *alerts[::2])
    rows = desk.rows()
    assert [(row.webhook_id, row.alerts) for row in rows] == [(one.webhook_id, 10_000) for one in webhooks]
    assert rows[0].subject == {"dying": [[1, 10_000]]}
    desk.send()
    for one in (receiver, another):
        assert totals(one) == [10_000]
        assert json.loads(one.got[0][1])["data"]["alerts"][0]["layer_id"] == 777


def test_news_that_come_while_a_payload_is_being_written_are_in_it(desk, receiver, heard, monkeypatch):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1, state="resolved"))
    written = freezing.body

    def meanwhile(*given, **options):
        monkeypatch.setattr(freezing, "body", written)
        desk.tell("alert.firing", RUN, desk.alert(RUN, 1, state="regressed"), desk.alert(RUN, 3))
        return written(*given, **options)

    desk.tell("alert.firing", RUN, desk.alert(RUN, 2))
    monkeypatch.setattr(freezing, "body", meanwhile)
    desk.send()
    assert heard(receiver) == [("firing", [1, 2, 3])]


def test_the_worst_twenty_are_carried_and_all_are_counted(desk, receiver, heard):
    desk.add(receiver.url)
    news = [desk.alert(RUN, layer, severity="critical" if layer > 30 else "warning") for layer in range(1, 51)]
    desk.tell("alert.firing", RUN, *news)
    desk.send()
    assert totals(receiver) == [50]
    assert heard(receiver) == [("firing", list(range(31, 51)))]
    assert desk.rows()[0].alerts == 50


def test_what_was_over_before_it_was_told_is_told_neither_as_firing_nor_as_over(desk, receiver, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.tell("alert.firing", RUN, desk.alert(RUN, 2), desk.alert(RUN, 3))
    desk.tell("alert.resolved", RUN, desk.alert(RUN, 2, state="resolved"))
    desk.send(seconds=31)
    assert heard(receiver) == [("firing", [1]), ("firing", [3])]
    assert [(row.state, row.reason, row.alerts) for row in desk.rows()] == [
        ("delivered", None, 1),
        ("delivered", None, 1),
        ("cancelled", "nothing_left", 0),
    ]


def test_what_was_told_is_told_to_be_over_also_when_its_repeat_was_not_sent(desk, receiver, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1, severity="critical"))
    desk.tell("alert.resolved", RUN, desk.alert(RUN, 1, severity="critical", state="resolved"))
    desk.send(seconds=31)
    desk.send(seconds=31)
    assert heard(receiver) == [("firing", [1]), ("resolved", [1])]


def test_what_returned_before_its_end_was_told_is_told_to_fire(desk, receiver, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.tell("alert.resolved", RUN, desk.alert(RUN, 1, state="resolved"))
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1, state="regressed"))
    desk.send(seconds=31)
    desk.tell("alert.resolved", RUN, desk.alert(RUN, 1, state="resolved"))
    desk.send(seconds=31)
    assert heard(receiver) == [("firing", [1]), ("firing", [1]), ("resolved", [1])]


def test_each_webhook_is_told_the_end_of_what_it_was_told(desk, receiver, another, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.add(another.url)  # too late for the first
    desk.tell("alert.firing", RUN, desk.alert(RUN, 2))
    desk.send(seconds=31)
    ends = [desk.alert(RUN, layer, state="resolved") for layer in (1, 2)]
    desk.tell("alert.resolved", RUN, *ends)
    desk.send(seconds=31)
    assert heard(receiver)[-1] == ("resolved", [1, 2])
    assert heard(another) == [("firing", [2]), ("resolved", [2])]


def test_one_that_hears_of_ends_alone_is_told_them_by_severity(desk, receiver, heard):
    desk.add(receiver.url, events=["alert.resolved"], severity="critical")
    desk.tell(
        "alert.resolved",
        RUN,
        desk.alert(RUN, 1, state="resolved"),
        desk.alert(RUN, 2, state="resolved", severity="critical"),
    )
    desk.send()
    assert heard(receiver) == [("resolved", [2])]


def test_news_of_a_run_keep_their_order(desk, receiver, heard):
    desk.add(receiver.url)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1), desk.alert(RUN, 2))
    desk.tell("alert.acknowledged", RUN, desk.alert(RUN, 1, state="acknowledged"))
    desk.tell("alert.resolved", RUN, desk.alert(RUN, 2, state="resolved"))
    desk.alert(RUN, 2)  # it holds again when the first is written
    desk.send()
    desk.alert(RUN, 2, state="resolved")
    desk.send(seconds=31)
    assert heard(receiver) == [("firing", [1, 2]), ("acknowledged", [1]), ("resolved", [2])]


@pytest.mark.parametrize(("severity", "layers"), [("info", [1, 2, 3]), ("warning", [2, 3]), ("critical", [3])])
def test_severity_is_the_least_that_is_told(severity, layers, desk, receiver, heard):
    desk.add(receiver.url, severity=severity)
    severities = {1: "info", 2: "warning", 3: "critical"}
    desk.tell("alert.firing", RUN, *(desk.alert(RUN, layer, severity=one) for layer, one in severities.items()))
    desk.send()
    assert heard(receiver) == [("firing", layers)]


def test_one_that_waits_for_the_critical_is_told_when_a_warning_grows_worse(desk, receiver, heard):
    desk.add(receiver.url, severity="critical")
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    assert desk.rows() == []
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1, severity="critical"))
    desk.send()
    assert heard(receiver) == [("firing", [1])]


@pytest.mark.parametrize(
    ("pattern", "told"),
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
def test_project_is_a_name_or_a_pattern(pattern, told, desk, receiver):
    desk.add(receiver.url, project=pattern)
    assert desk.tell("alert.firing", RUN, desk.alert(RUN, 1)) == told


def test_a_bracket_in_a_name_is_a_bracket(desk, receiver):
    desk.add(receiver.url, project="a[1]*")
    assert desk.tell("alert.firing", RUN, desk.alert(RUN, 1), project="a[1]b") == 1
    assert desk.tell("alert.firing", "run2", desk.alert("run2", 1), project="a1") == 0


def test_news_of_a_run_that_was_deleted_are_called_off(desk, receiver):
    desk.add(receiver.url)
    desk.tell("alert.firing", "gone", (1, "dying", "critical"))
    assert desk.send() == 0
    assert [(row.state, row.reason) for row in desk.rows()] == [("cancelled", "nothing_left")]
