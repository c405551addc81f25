"""A clock that was ahead for a while holds up no notification once it is put right."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from relumine_server.outbox import leases
from tests.helpers.webhook_receiver import Response

AHEAD = pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(days=1), timedelta(days=400)])
RUN = "run1"


@AHEAD
def test_a_delivery_that_waits_for_its_group_is_sent_at_once(outbox, receiver, ahead):
    outbox.add_webhook(receiver.url, group_wait_s=30.0)
    first = outbox.store_alert(RUN, 1, "dying")
    second = outbox.store_alert(RUN, 2, "dying")
    outbox.clock.now += ahead
    outbox.enqueue("alert.firing", RUN, first)
    outbox.send_due()
    outbox.enqueue("alert.firing", RUN, second)  # waits for its group, until tomorrow
    outbox.clock.now -= ahead
    outbox.send_due()
    assert receiver.notifications == [("firing", [1]), ("firing", [2])]


@AHEAD
def test_a_delivery_that_waits_for_its_retry_is_sent_at_once_and_then_as_the_schedule_says(outbox, receiver, ahead):
    delivery_id = outbox.enqueue_test(outbox.add_webhook(receiver.url))
    outbox.clock.now += ahead
    receiver.responses = [Response(503, {"retry-after": "3600"}), Response(500)]
    outbox.send_due()
    outbox.clock.now -= ahead
    assert outbox.send_due() == 1
    assert outbox.send_due() == 0  # five minutes later, not at once again
    assert outbox.send_due(minutes=6) == 1
    assert outbox.delivery_state(delivery_id) == "delivered"


@AHEAD
def test_the_lease_of_a_dispatcher_that_died_meanwhile_is_free(outbox, receiver, ahead):
    outbox.enqueue_test(outbox.add_webhook(receiver.url))
    until = outbox.clock() + ahead + timedelta(seconds=30)
    lease = partial(leases.acquire, now=outbox.clock(), until=until, limit=1)
    assert len(outbox.database.write(lease)) == 1
    outbox.clock.advance(minutes=0 if ahead > leases.LONGEST_LEASE else 6)
    assert outbox.send_due() == 1


def test_a_retry_that_a_clock_which_is_right_has_set_waits(outbox, receiver):
    outbox.enqueue_test(outbox.add_webhook(receiver.url))
    receiver.responses = [Response(503, {"retry-after": "86400"})]
    outbox.send_due()
    outbox.clock.advance(seconds=-30)  # another host's clock is half a minute behind
    assert outbox.send_due() == 0
    outbox.clock.advance(hours=23)
    assert outbox.send_due() == 0
