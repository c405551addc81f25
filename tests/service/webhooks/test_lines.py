"""The line of a webhook: one attempt under way whoever sends, in order, and leases that outlive nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from receiver import Answer

from relumine_server.settings import Settings
from relumine_server.storage import lines
from relumine_server.webhooks.courier import Courier

RUN = "run1"


def lease(desk, room=100):
    now = desk.clock()
    return desk.store.write(partial(lines.lease, now=now, until=now + timedelta(seconds=30), room=room))


def test_a_webhook_never_has_two_attempts_under_way(desk, receiver):
    webhook = desk.add(receiver.url)
    for _ in range(3):
        desk.probe(webhook)
    assert [len(lease(desk)), len(lease(desk))] == [1, 0]


def test_many_couriers_take_every_line_once(desk, receiver):
    webhooks = [desk.add(receiver.url) for _ in range(20)]
    for webhook in webhooks * 3:
        desk.probe(webhook)
    together = threading.Barrier(8)

    def take(_):
        together.wait()
        return lease(desk, 7)

    with ThreadPoolExecutor(8) as pool:
        taken = [leased for found in pool.map(take, range(8)) for leased in found]
    assert len({leased.delivery_id for leased in taken}) == len(taken)
    assert sorted(leased.webhook.webhook_id for leased in [*taken, *lease(desk)]) == sorted(
        webhook.webhook_id for webhook in webhooks
    )


def test_a_lease_of_a_courier_that_died_runs_out(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))
    (dead,) = lease(desk)
    assert desk.courier.run_once() == 0
    desk.clock.move(seconds=31)
    assert desk.courier.run_once() == 1
    assert desk.state(delivery) == "delivered"
    assert dead.delivery_id == delivery


def test_the_outcome_of_a_lost_lease_changes_nothing(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))

    def overtaken():
        receiver.on_post = lambda: None
        desk.clock.move(seconds=60)
        other = Courier(desk.store, Settings(webhook_allow_loopback=True), desk.clock)
        assert other.run_once() == 1

    receiver.on_post = overtaken
    receiver.answers = [Answer(), Answer(500)]
    desk.courier.run_once()
    assert receiver.ids == [delivery] * 2
    assert (desk.rows()[0].state, desk.rows()[0].attempt) == ("delivered", 1)


def test_the_only_process_takes_up_what_it_had_leased_before_it_was_killed(desk, receiver):
    delivery = desk.probe(desk.add(receiver.url))
    lease(desk)
    arrived = threading.Event()
    receiver.on_post = arrived.set
    again = Courier(desk.store, Settings(webhook_allow_loopback=True), desk.clock)
    again.start()
    if not desk.store.is_exclusive:  # another process may be at work: its lease is waited for
        assert not arrived.wait(0.5)
        desk.clock.move(seconds=31)
        again.wake()
    assert arrived.wait(20)
    again.stop(20)
    assert desk.state(delivery) == "delivered"


def test_later_news_wait_while_an_earlier_is_in_its_first_tries_then_go_ahead(desk, receiver, heard):
    desk.add(receiver.url, group_wait_s=0.0)
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    receiver.answers = [Answer(500)] * 3
    desk.send()
    desk.tell("alert.firing", "run2", desk.alert("run2", 2))
    assert desk.send() == 0
    assert desk.send(seconds=5) == 1
    assert desk.send(seconds=299) == 0
    assert desk.send(seconds=1) == 3  # the third try, then the news behind it; it shows that the receiver is back
    assert heard(receiver) == [*[("firing", [1])] * 3, ("firing", [2]), ("firing", [1])]
    assert {row.state for row in desk.rows()} == {"delivered"}


def test_after_one_failure_the_order_is_kept(desk, receiver, heard):
    desk.add(receiver.url, group_wait_s=0.0)
    receiver.answers = [Answer(500)]
    for layer in (1, 2, 3):
        desk.tell("alert.firing", f"run{layer}", desk.alert(f"run{layer}", layer))
    desk.send()
    desk.send(seconds=5)
    assert heard(receiver) == [("firing", [1]), ("firing", [1]), ("firing", [2]), ("firing", [3])]


def test_a_receiver_that_asked_for_a_pause_gets_one_from_all_but_a_test(desk, receiver, heard):
    webhook = desk.add(receiver.url, group_wait_s=0.0)
    receiver.answers = [Answer(429, {"retry-after": "3600"}), Answer(503)]
    desk.tell("alert.firing", RUN, desk.alert(RUN, 1))
    desk.send()
    desk.tell("alert.firing", "run2", desk.alert("run2", 2))
    assert desk.send(seconds=3599) == 0
    desk.probe(webhook)
    assert desk.send() == 1
    assert desk.send(seconds=1) == 2
    assert heard(receiver)[1:] == [("webhook.test", []), ("firing", [1]), ("firing", [2])]


def test_a_lease_takes_no_more_lines_than_there_is_room_for(desk, receiver):
    for _ in range(5):
        desk.probe(desk.add(receiver.url))
    assert len(lease(desk, 3)) == 3
    assert len(lease(desk, 3)) == 2
