"""The dispatcher with real receivers: at least once, signed, one id for all attempts, no endpoint delays another."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
import standardwebhooks

import relumine
from relumine_server.db import tables
from relumine_server.outbox import endpoints, leases
from relumine_server.settings import Settings
from relumine_server.webhooks.dispatcher import WebhookDispatcher
from tests.helpers.outbox_harness import SECRET
from tests.helpers.webhook_receiver import RESET, Response


def attempts(outbox):
    a = tables.delivery_attempts.c
    query = sa.select(tables.delivery_attempts).order_by(a.delivery_id, a.attempt)
    with outbox.database.read() as connection:
        return connection.execute(query).all()


def failure_streak(outbox, webhook):
    with outbox.database.read() as connection:
        return leases.failure_streaks(connection, [webhook.webhook_id])[webhook.webhook_id]


def test_a_delivery_arrives_once_signed_under_its_id(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    assert outbox.dispatcher.run_once() == 1
    assert outbox.dispatcher.run_once() == 0
    ((headers, body),) = receiver.requests
    notification = relumine.verify_webhook(headers, body, SECRET, now=outbox.clock().timestamp())
    assert notification["type"] == "webhook.test"
    assert headers["webhook-id"] == delivery_id
    assert len(body) < 20_000
    assert outbox.delivery_state(delivery_id) == "delivered"


FAILURES_AND_WAITS = [
    (Response(500, body=b"no"), timedelta(seconds=5)),
    (Response(200, delay_s=3), timedelta(minutes=5)),  # the dispatcher waits for 2 s
    (RESET, timedelta(minutes=30)),
    (Response(429, {"retry-after": "10000"}), timedelta(seconds=10_000)),  # more than the 2 h of the schedule
    (Response(429, {"retry-after": "60"}), timedelta(hours=5)),  # less than the schedule
    (Response(302, {"location": "http://127.0.0.1:9/"}), timedelta(hours=10)),
    (Response(404), timedelta(hours=14)),
    (Response(503, {"retry-after": "Wed, 25 Nov 2026 20:00:00 GMT"}), timedelta(hours=21, minutes=38, seconds=15)),
]


def test_schedule_ids_timestamps_and_signatures_over_days_of_failures(outbox, receiver, monkeypatch):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    receiver.responses = [response for response, _ in FAILURES_AND_WAITS]
    sent_at = []
    receiver.on_post = lambda: sent_at.append(outbox.clock())
    for response, wait in FAILURES_AND_WAITS:
        assert outbox.dispatcher.run_once() == 1, response
        (delivery,) = outbox.deliveries()
        assert delivery.next_attempt_at - outbox.clock() == wait
        outbox.clock.now = delivery.next_attempt_at - timedelta(milliseconds=1)
        assert outbox.dispatcher.run_once() == 0, response
        outbox.clock.now = delivery.next_attempt_at
    assert outbox.dispatcher.run_once() == 1
    assert outbox.delivery_state(delivery_id) == "delivered"
    rows = attempts(outbox)
    assert [row.response_status for row in rows] == [500, None, None, 429, 429, 302, 404, 503, 204]
    assert [row.error is None for row in rows] == [True, False, False, *[True] * 6]
    assert rows[0].response_body == "no"
    assert set(receiver.delivery_ids) == {delivery_id}
    assert len({body for _, body in receiver.requests}) == 1
    for (headers, body), moment in zip(receiver.requests, sent_at, strict=True):
        assert headers["webhook-timestamp"] == str(int(moment.timestamp()))
        monkeypatch.setattr(standardwebhooks.webhooks, "datetime", _datetime_stopped_at(moment))
        standardwebhooks.Webhook(SECRET).verify(body, headers)


def _datetime_stopped_at(moment):
    """Return a ``datetime`` class for the official library, which reads the clock of the machine."""

    class StoppedDatetime(type(moment)):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    return StoppedDatetime


def test_jitter_lengthens_every_wait_by_a_tenth_at_most(outbox, receiver):
    outbox.enqueue_test(outbox.add_webhook(receiver.url))
    receiver.responses = [Response(500)] * 2
    settings = Settings(webhook_allow_loopback=True)
    dispatcher = WebhookDispatcher(outbox.database, settings, outbox.clock, jitter=lambda: 0.999)
    waits_s = []
    for _ in range(2):
        dispatcher.run_once()
        next_attempt_at = outbox.deliveries()[0].next_attempt_at
        waits_s.append((next_attempt_at - outbox.clock()).total_seconds())
        outbox.clock.now = next_attempt_at
    assert waits_s == pytest.approx([5.5, 330], rel=0.001)


def test_an_endpoint_may_not_postpone_a_delivery_for_longer_than_a_day(outbox, receiver):
    outbox.enqueue_test(outbox.add_webhook(receiver.url))
    receiver.responses = [Response(429, {"retry-after": "99999999999999"})]
    outbox.send_due()
    assert outbox.deliveries()[0].next_attempt_at == outbox.clock() + timedelta(hours=24)


def test_the_schedule_ends_after_ten_attempts_in_a_little_more_than_three_days(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    receiver.responses = [Response(500)] * 20
    started_at = outbox.clock()
    while outbox.delivery_state(delivery_id) == "pending":
        outbox.clock.now = outbox.deliveries()[0].next_attempt_at
        outbox.dispatcher.run_once()
    assert outbox.clock() - started_at == timedelta(hours=75, minutes=35, seconds=5)
    assert len(receiver.requests) == 10
    (delivery,) = outbox.deliveries()
    assert (delivery.state, delivery.status_reason) == ("failed", "attempts_exhausted")
    assert outbox.webhook("whk_0").enabled


def test_410_disables_a_webhook_at_once_and_the_others_are_notified(outbox, receiver, second_receiver):
    gone = outbox.add_webhook(receiver.url)
    subscribed = outbox.add_webhook(second_receiver.url)
    outbox.add_webhook(second_receiver.url, events=["alert.firing"])
    outbox.add_webhook(second_receiver.url, project="other")
    outbox.enqueue_test(gone)
    outbox.enqueue_test(gone)
    receiver.responses = [Response(410)]
    outbox.send_due()
    stored = outbox.webhook(gone.webhook_id)
    assert (stored.enabled, stored.disabled_reason, stored.disabled_at) == (False, "endpoint_gone", outbox.clock())
    assert len(receiver.requests) == 1
    notified = [delivery.webhook_id for delivery in outbox.deliveries() if delivery.event == "webhook.disabled"]
    assert notified == [subscribed.webhook_id]
    body = relumine.verify_webhook(*second_receiver.requests[-1], SECRET, now=outbox.clock().timestamp())
    assert body["data"]["webhook"] == {
        "webhook_id": gone.webhook_id, "host": "127.0.0.1", "reason": "the receiver answered 410 Gone",
    }  # fmt: skip


def test_five_days_of_failures_only_disable_a_webhook_and_a_success_restarts_the_count(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    receiver.responses = [Response(500)] * 1000
    started_at = outbox.clock()
    while outbox.clock() - started_at < timedelta(days=4, hours=12):
        outbox.enqueue_test(webhook)
        outbox.send_due(hours=12)
    assert outbox.webhook(webhook.webhook_id).enabled
    receiver.responses = []
    outbox.enqueue_test(webhook)
    outbox.send_due(seconds=1)
    assert failure_streak(outbox, webhook) == (0, None)
    receiver.responses = [Response(500)] * 1000
    started_at = outbox.clock()
    while outbox.webhook(webhook.webhook_id).enabled:
        outbox.enqueue_test(webhook)
        outbox.send_due(hours=12)
    assert timedelta(days=5) <= outbox.clock() - started_at <= timedelta(days=6)
    assert outbox.webhook(webhook.webhook_id).disabled_reason == "failing"
    assert {delivery.state for delivery in outbox.deliveries()} == {"delivered", "cancelled"}


def test_a_few_failures_over_weeks_do_not_disable_a_webhook(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    receiver.responses = [Response(500)] * 19
    outbox.enqueue_test(webhook)
    while outbox.deliveries()[0].state == "pending":
        outbox.send_due(hours=25)
    outbox.enqueue_test(webhook)
    outbox.send_due(days=10)
    assert failure_streak(outbox, webhook).consecutive_failures == 11
    assert outbox.webhook(webhook.webhook_id).enabled


def test_an_unreachable_endpoint_delays_no_other(outbox, receiver):
    unreachable = outbox.enqueue_test(outbox.add_webhook("http://127.0.0.1:9000/"))
    reachable = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    assert outbox.dispatcher.run_once() == 2
    assert outbox.delivery_state(unreachable) == "pending"
    assert outbox.delivery_state(reachable) == "delivered"


def test_loopback_is_refused_at_connect_unless_allowed(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    WebhookDispatcher(outbox.database, Settings(), outbox.clock).run_once()
    assert receiver.requests == []
    assert outbox.delivery_state(delivery_id) == "pending"


def test_a_delivery_stays_cancelled_whose_webhook_was_deleted_during_the_attempt(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    delivery_id = outbox.enqueue_test(webhook)
    receiver.on_post = lambda: outbox.database.write(
        lambda connection: endpoints.delete(connection, webhook.webhook_id, outbox.clock())
    )
    outbox.send_due()
    assert outbox.delivery_state(delivery_id) == "cancelled"


def test_a_delivery_cancelled_during_the_attempt_is_delivered_if_it_arrived_and_else_cancelled(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    arriving = outbox.enqueue_test(webhook)
    receiver.on_post = lambda: outbox.database.write(
        lambda connection: endpoints.disable(connection, webhook.webhook_id, "requested", outbox.clock())
    )
    outbox.send_due()
    assert outbox.delivery_state(arriving) == "delivered"
    outbox.database.write(lambda connection: endpoints.update(connection, webhook.webhook_id, {"enabled": True}))
    failing = outbox.enqueue_test(webhook)
    receiver.responses = [Response(500)]
    outbox.send_due()
    assert outbox.delivery_state(failing) == "cancelled"


def test_a_payload_that_cannot_be_rendered_is_retried_by_the_schedule_and_shown_in_the_log(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    outbox.enqueue_test(outbox.add_webhook(receiver.url))

    def failing_render(*_):
        raise RuntimeError("a bug")

    settings = Settings(webhook_allow_loopback=True)
    dispatcher = WebhookDispatcher(outbox.database, settings, outbox.clock, jitter=lambda: 0.0, render=failing_render)
    dispatcher.run_once()
    first = attempts(outbox)[0]
    assert (first.delivery_id, first.response_status) == (delivery_id, None)
    assert "RuntimeError" in first.error
    outbox.send_due(seconds=6)
    assert {delivery.state for delivery in outbox.deliveries()} == {"delivered"}


def test_a_started_dispatcher_sends_new_deliveries_and_stops_in_time(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    arrived = threading.Event()
    receiver.on_post = arrived.set
    outbox.dispatcher.start()
    outbox.enqueue_test(webhook)
    outbox.dispatcher.wake()
    assert arrived.wait(60)
    outbox.dispatcher.stop(60)
    assert [delivery.state for delivery in outbox.deliveries()] == ["delivered"]
