"""The courier against real receivers: at least once, signed, the same id on every try, nobody held up."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
import standardwebhooks
from receiver import RESET, Answer

import relumine
from relumine_server.settings import Settings
from relumine_server.storage import lines, webhooks
from relumine_server.storage import tables as t
from relumine_server.webhooks.courier import Courier

SECRET = "whsec_" + "A" * 43 + "="


def attempts(desk):
    with desk.store.read() as connection:
        return connection.execute(sa.select(t.attempts).order_by(t.attempts.c.delivery_id, t.attempts.c.attempt)).all()


def streak(desk, webhook):
    with desk.store.read() as connection:
        return lines.fares(connection, [webhook.webhook_id])[webhook.webhook_id]


def test_a_delivery_arrives_once_signed_under_its_id(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))
    assert desk.courier.run_once() == 1
    assert desk.courier.run_once() == 0
    ((headers, body),) = receiver.got
    assert relumine.verify_webhook(headers, body, SECRET, now=desk.clock().timestamp())["type"] == "webhook.test"
    assert headers["webhook-id"] == delivery
    assert len(body) < 20_000
    assert desk.state(delivery) == "delivered"


SCRIPT = [
    (Answer(500, body=b"no"), timedelta(seconds=5)),
    (Answer(200, silent_s=3), timedelta(minutes=5)),  # the courier waits for 2 s
    (RESET, timedelta(minutes=30)),
    (Answer(429, {"retry-after": "10000"}), timedelta(seconds=10_000)),  # more than the 2 h of the schedule
    (Answer(429, {"retry-after": "60"}), timedelta(hours=5)),  # less than the schedule says
    (Answer(302, {"location": "http://127.0.0.1:9/"}), timedelta(hours=10)),
    (Answer(404), timedelta(hours=14)),
    (Answer(503, {"retry-after": "Wed, 25 Nov 2026 20:00:00 GMT"}), timedelta(hours=21, minutes=38, seconds=15)),
]


def test_schedule_ids_timestamps_and_signatures_over_days_of_failures(desk, receiver, monkeypatch):
    delivery = desk.probe(desk.add(receiver.url))
    receiver.answers = [answer for answer, _ in SCRIPT]
    sent_at = []
    receiver.on_post = lambda: sent_at.append(desk.clock())
    for answer, wait in SCRIPT:
        assert desk.courier.run_once() == 1, answer
        (row,) = desk.rows()
        assert row.due_at - desk.clock() == wait
        desk.clock.now = row.due_at - timedelta(milliseconds=1)
        assert desk.courier.run_once() == 0, answer
        desk.clock.now = row.due_at
    assert desk.courier.run_once() == 1
    assert desk.state(delivery) == "delivered"
    assert [one.status for one in attempts(desk)] == [500, None, None, 429, 429, 302, 404, 503, 204]
    assert [one.error is None for one in attempts(desk)] == [True, False, False, *[True] * 6]
    assert attempts(desk)[0].answer == "no"
    assert set(receiver.ids) == {delivery}
    assert len({body for _, body in receiver.got}) == 1
    for (headers, body), moment in zip(receiver.got, sent_at, strict=True):
        assert headers["webhook-timestamp"] == str(int(moment.timestamp()))
        monkeypatch.setattr(standardwebhooks.webhooks, "datetime", _at(moment))
        standardwebhooks.Webhook(SECRET).verify(body, headers)


def _at(moment):
    """The official library reads the clock: it is to read ours."""

    class Standing(type(moment)):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    return Standing


def test_jitter_lengthens_every_wait_by_a_tenth_at_most(store, desk, receiver):
    desk.probe(desk.add(receiver.url))
    receiver.answers = [Answer(500)] * 2
    most = Courier(store, Settings(webhook_allow_loopback=True), desk.clock, jitter=lambda: 0.999)
    waits = []
    for _ in range(2):
        most.run_once()
        due_at = desk.rows()[0].due_at
        waits.append((due_at - desk.clock()).total_seconds())
        desk.clock.now = due_at
    assert waits == pytest.approx([5.5, 330], rel=0.001)


def test_a_receiver_may_not_put_a_delivery_off_for_longer_than_a_day(desk, receiver):
    desk.probe(desk.add(receiver.url))
    receiver.answers = [Answer(429, {"retry-after": "99999999999999"})]
    desk.send()
    assert desk.rows()[0].due_at == desk.clock() + timedelta(hours=24)


def test_the_schedule_ends_after_ten_attempts_in_a_little_more_than_three_days(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))
    receiver.answers = [Answer(500)] * 20
    began = desk.clock()
    while desk.state(delivery) == "pending":
        desk.clock.now = desk.rows()[0].due_at
        desk.courier.run_once()
    assert desk.clock() - began == timedelta(hours=75, minutes=35, seconds=5)
    assert len(receiver.got) == 10
    assert (desk.rows()[0].state, desk.rows()[0].reason) == ("failed", "given_up")
    assert desk.webhook("whk_0").enabled


def test_410_disables_at_once_and_the_others_are_told(desk, receiver, another):
    gone = desk.add(receiver.url)
    listening = desk.add(another.url)
    deaf = desk.add(another.url, events=["alert.firing"])
    elsewhere = desk.add(another.url, project="other")
    desk.probe(gone)
    desk.probe(gone)
    receiver.answers = [Answer(410)]
    desk.send()
    webhook = desk.webhook(gone.webhook_id)
    assert (webhook.enabled, webhook.disabled_reason, webhook.disabled_at) == (False, "gone", desk.clock())
    assert len(receiver.got) == 1
    news = [row for row in desk.rows() if row.event == "webhook.disabled"]
    assert [row.webhook_id for row in news] == [listening.webhook_id]
    body = relumine.verify_webhook(*another.got[-1], SECRET, now=desk.clock().timestamp())
    assert body["data"]["webhook"] == {
        "webhook_id": gone.webhook_id, "host": "127.0.0.1", "reason": "the receiver answered 410 Gone",
    }  # fmt: skip
    assert {deaf.webhook_id, elsewhere.webhook_id}.isdisjoint(row.webhook_id for row in news)


def test_five_days_of_nothing_but_failures_disable_and_one_success_begins_them_anew(desk, receiver):
    webhook = desk.add(receiver.url)
    receiver.answers = [Answer(500)] * 1000
    began = desk.clock()
    while desk.clock() - began < timedelta(days=4, hours=12):
        desk.probe(webhook)
        desk.send(hours=12)
    assert desk.webhook(webhook.webhook_id).enabled
    receiver.answers = []
    desk.probe(webhook)
    desk.send(seconds=1)
    assert streak(desk, webhook) == (0, None)
    receiver.answers = [Answer(500)] * 1000
    began = desk.clock()
    while desk.webhook(webhook.webhook_id).enabled:
        desk.probe(webhook)
        desk.send(hours=12)
    assert timedelta(days=5) <= desk.clock() - began <= timedelta(days=6)
    assert desk.webhook(webhook.webhook_id).disabled_reason == "failing"
    assert {row.state for row in desk.rows()} == {"delivered", "cancelled"}


def test_a_few_failures_over_weeks_do_not_disable(desk, receiver):
    webhook = desk.add(receiver.url)
    receiver.answers = [Answer(500)] * 19
    desk.probe(webhook)
    while desk.rows()[0].state == "pending":
        desk.send(hours=25)
    desk.probe(webhook)
    desk.send(days=10)
    assert streak(desk, webhook).failures == 11
    assert desk.webhook(webhook.webhook_id).enabled


def test_a_receiver_that_is_away_holds_up_no_other(desk, receiver):
    away, here = desk.probe(desk.add("http://127.0.0.1:9000/")), desk.probe(desk.add(receiver.url))
    assert desk.courier.run_once() == 2
    assert (desk.state(away), desk.state(here)) == ("pending", "delivered")


def test_loopback_is_refused_at_connect_unless_allowed(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))
    Courier(desk.store, Settings(), desk.clock).run_once()
    assert receiver.got == []
    assert desk.state(delivery) == "pending"


def test_a_delivery_of_a_webhook_that_was_deleted_during_the_attempt_ends_quietly(desk, receiver):
    webhook = desk.add(receiver.url)
    delivery = desk.probe(webhook)
    receiver.on_post = lambda: desk.store.write(lambda c: webhooks.delete(c, webhook.webhook_id, desk.clock()))
    desk.send()
    assert desk.state(delivery) == "cancelled"


def test_one_called_off_during_the_attempt_is_delivered_if_it_arrived_and_called_off_if_not(desk, receiver):
    webhook = desk.add(receiver.url)
    arrived = desk.probe(webhook)
    receiver.on_post = lambda: desk.store.write(
        lambda c: webhooks.disable(c, webhook.webhook_id, "requested", desk.clock())
    )
    desk.send()
    assert desk.state(arrived) == "delivered"
    desk.store.write(lambda c: webhooks.change(c, webhook.webhook_id, {"enabled": True}))
    failed = desk.probe(webhook)
    receiver.answers = [Answer(500)]
    desk.send()
    assert desk.state(failed) == "cancelled"


def test_a_payload_that_cannot_be_written_is_tried_by_the_schedule_and_shows_in_the_log(desk, receiver, monkeypatch):
    delivery = desk.probe(desk.add(receiver.url))
    desk.probe(desk.add(receiver.url))

    def broken(form, news, *, url):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("relumine_server.webhooks.freezing.body", broken)
        desk.courier.run_once()
    first = attempts(desk)[0]
    assert (first.delivery_id, first.status, "RuntimeError" in first.error) == (delivery, None, True)
    desk.send(seconds=6)
    assert {row.state for row in desk.rows()} == {"delivered"}


def test_started_it_sends_what_comes_and_stops_in_time(desk, receiver):
    webhook = desk.add(receiver.url)
    arrived = threading.Event()
    receiver.on_post = arrived.set
    desk.courier.start()
    desk.probe(webhook)
    desk.courier.wake()
    assert arrived.wait(20)
    desk.courier.stop(20)
    assert [row.state for row in desk.rows()] == ["delivered"]
