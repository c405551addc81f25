"""Webhook leases: one attempt in flight for each webhook, whichever process sends, in order; a lost lease expires."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from relumine_server.outbox import leases
from relumine_server.settings import Settings
from relumine_server.webhooks.dispatcher import WebhookDispatcher
from tests.helpers.webhook_receiver import Response

RUN = "run1"


def acquire(outbox, limit=100):
    now = outbox.clock()
    return outbox.database.write(partial(leases.acquire, now=now, until=now + timedelta(seconds=30), limit=limit))


def second_dispatcher(outbox):
    return WebhookDispatcher(outbox.database, Settings(webhook_allow_loopback=True), outbox.clock)


def test_a_webhook_never_has_two_attempts_in_flight(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url)
    for _ in range(3):
        outbox.enqueue_test(webhook)
    assert [len(acquire(outbox)), len(acquire(outbox))] == [1, 0]


def test_many_dispatchers_lease_every_webhook_once(outbox, receiver):
    webhooks = [outbox.add_webhook(receiver.url) for _ in range(20)]
    for webhook in webhooks * 3:
        outbox.enqueue_test(webhook)
    barrier = threading.Barrier(8)

    def acquire_together(_):
        barrier.wait()
        return acquire(outbox, 7)

    leased = []
    with ThreadPoolExecutor(8) as pool:
        for batch in pool.map(acquire_together, range(8)):
            leased += batch
    assert len({delivery.delivery_id for delivery in leased}) == len(leased)
    leased += acquire(outbox)
    assert sorted(delivery.webhook.webhook_id for delivery in leased) == sorted(
        webhook.webhook_id for webhook in webhooks
    )


def test_the_lease_of_a_dead_dispatcher_expires(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    (leased_by_dead,) = acquire(outbox)
    assert outbox.dispatcher.run_once() == 0
    outbox.clock.advance(seconds=31)
    assert outbox.dispatcher.run_once() == 1
    assert outbox.delivery_state(delivery_id) == "delivered"
    assert leased_by_dead.delivery_id == delivery_id


def test_the_outcome_of_a_lost_lease_changes_nothing(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))

    def let_lease_expire():
        receiver.on_post = lambda: None
        outbox.clock.advance(seconds=60)
        assert second_dispatcher(outbox).run_once() == 1

    receiver.on_post = let_lease_expire
    receiver.responses = [Response(), Response(500)]
    outbox.dispatcher.run_once()
    assert receiver.delivery_ids == [delivery_id] * 2
    (delivery,) = outbox.deliveries()
    assert (delivery.state, delivery.attempt_count) == ("delivered", 1)


def test_the_only_process_resumes_what_it_had_leased_before_it_was_killed(outbox, receiver):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    acquire(outbox)
    arrived = threading.Event()
    receiver.on_post = arrived.set
    restarted = second_dispatcher(outbox)
    restarted.start()
    if not outbox.database.is_exclusive:  # another process may be sending, so the lease must expire first
        assert not arrived.wait(0.5)
        outbox.clock.advance(seconds=31)
        restarted.wake()
    assert arrived.wait(60)
    restarted.stop(60)
    assert outbox.delivery_state(delivery_id) == "delivered"


def test_later_deliveries_wait_during_the_first_attempts_of_an_earlier_one_and_then_go_ahead(outbox, receiver):
    outbox.add_webhook(receiver.url, group_wait_s=0.0)
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    receiver.responses = [Response(500)] * 3
    outbox.send_due()
    outbox.enqueue("alert.firing", "run2", outbox.store_alert("run2", 2))
    assert outbox.send_due() == 0
    assert outbox.send_due(seconds=5) == 1
    assert outbox.send_due(seconds=299) == 0
    assert outbox.send_due(seconds=1) == 3  # the third attempt, then the later delivery, whose success ends the wait
    assert receiver.notifications == [*[("firing", [1])] * 3, ("firing", [2]), ("firing", [1])]
    assert {delivery.state for delivery in outbox.deliveries()} == {"delivered"}


def test_after_one_failure_the_order_is_kept(outbox, receiver):
    outbox.add_webhook(receiver.url, group_wait_s=0.0)
    receiver.responses = [Response(500)]
    for layer in (1, 2, 3):
        outbox.enqueue("alert.firing", f"run{layer}", outbox.store_alert(f"run{layer}", layer))
    outbox.send_due()
    outbox.send_due(seconds=5)
    assert receiver.notifications == [("firing", [1]), ("firing", [1]), ("firing", [2]), ("firing", [3])]


def test_all_deliveries_but_tests_wait_while_an_endpoint_asked_for_a_pause(outbox, receiver):
    webhook = outbox.add_webhook(receiver.url, group_wait_s=0.0)
    receiver.responses = [Response(429, {"retry-after": "3600"}), Response(503)]
    outbox.enqueue("alert.firing", RUN, outbox.store_alert(RUN, 1))
    outbox.send_due()
    outbox.enqueue("alert.firing", "run2", outbox.store_alert("run2", 2))
    assert outbox.send_due(seconds=3599) == 0
    outbox.enqueue_test(webhook)
    assert outbox.send_due() == 1
    assert outbox.send_due(seconds=1) == 2
    assert receiver.notifications[1:] == [("webhook.test", []), ("firing", [1]), ("firing", [2])]


def test_no_more_webhooks_are_leased_than_the_limit(outbox, receiver):
    for _ in range(5):
        outbox.enqueue_test(outbox.add_webhook(receiver.url))
    assert len(acquire(outbox, 3)) == 3
    assert len(acquire(outbox, 3)) == 2
