"""The courier against real receivers: at least once, signed, the same id on every try, nobody held up."""

from __future__ import annotations

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

import relumine
from relumine_server.settings import Settings
from relumine_server.storage import deliveries, migrate
from relumine_server.storage import tables as t
from relumine_server.storage import webhooks as rows
from relumine_server.storage.store import Store
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.courier import Courier

SECRET = "whsec_" + "A" * 43 + "="


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now

    def move(self, **by):
        self.now += timedelta(**by)


@pytest.fixture
def receiver():
    """A receiver whose next answers can be set; it keeps what it got."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.got.append((dict(self.headers.items()), body))
            status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answers = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(database_url):
    opened = Store.open(database_url)
    migrate.upgrade(opened.writing_engine)
    yield opened
    opened.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def courier(store, clock):
    settings = Settings(webhook_allow_loopback=True, webhook_timeout_s=5)
    return Courier(store, settings, clock, jitter=lambda: 0.0)


def add_webhook(store, clock, url, webhook_id="whk_1"):
    row = WebhookRow(
        webhook_id=webhook_id,
        url=url,
        format="standard",
        events=["alert.firing"],
        project=None,
        enabled=True,
        secret=SECRET,
        created_at=clock(),
    )
    store.write(lambda c: rows.insert(c, row))
    return webhook_id


def probe(store, clock, webhook_id):
    return store.write(lambda c: deliveries.enqueue_probe(c, webhook_id, clock()))


def state(store, delivery_id):
    with store.read() as connection:
        c = t.deliveries.c
        return connection.scalar(sa.select(c.state).where(c.delivery_id == delivery_id))


def url(receiver):
    return f"http://127.0.0.1:{receiver.server_port}/hook"


def test_a_delivery_arrives_once_signed_under_its_id(store, clock, courier, receiver):
    delivery = probe(store, clock, add_webhook(store, clock, url(receiver)))
    assert courier.run_once() == 1
    assert courier.run_once() == 0
    ((headers, body),) = receiver.got
    assert relumine.verify_webhook(headers, body, SECRET, now=clock().timestamp())["type"] == "webhook.test"
    assert headers["webhook-id"] == delivery
    assert state(store, delivery) == "delivered"


@pytest.mark.parametrize("status", [500, 429, 301, 404])
def test_a_failure_is_tried_again_later_under_the_same_id_and_body(status, store, clock, courier, receiver):
    delivery = probe(store, clock, add_webhook(store, clock, url(receiver)))
    receiver.answers = [(status, {"location": "http://127.0.0.1:9/"})]
    assert courier.run_once() == 1
    assert courier.run_once() == 0
    clock.move(seconds=6)
    assert courier.run_once() == 1
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [delivery] * 2
    assert receiver.got[0][1] == receiver.got[1][1]
    assert state(store, delivery) == "delivered"


def test_retry_after_is_honoured(store, clock, courier, receiver):
    probe(store, clock, add_webhook(store, clock, url(receiver)))
    receiver.answers = [(503, {"retry-after": "120"})]
    courier.run_once()
    clock.move(seconds=60)
    assert courier.run_once() == 0
    clock.move(seconds=61)
    assert courier.run_once() == 1


def test_the_schedule_ends_after_ten_attempts(store, clock, courier, receiver):
    delivery = probe(store, clock, add_webhook(store, clock, url(receiver)))
    receiver.answers = [(500, {})] * 20
    for _ in range(12):
        courier.run_once()
        clock.move(hours=25)
    assert len(receiver.got) == 10
    assert state(store, delivery) == "failed"


def test_410_disables_the_receiver(store, clock, courier, receiver):
    webhook = add_webhook(store, clock, url(receiver))
    probe(store, clock, webhook)
    receiver.answers = [(410, {})]
    courier.run_once()
    with store.read() as connection:
        assert rows.find(connection, webhook).enabled is False


def test_a_receiver_that_is_away_holds_up_no_other(store, clock, courier, receiver):
    away = probe(store, clock, add_webhook(store, clock, "http://127.0.0.1:9/", "whk_away"))
    here = probe(store, clock, add_webhook(store, clock, url(receiver), "whk_here"))
    assert courier.run_once() == 2
    assert (state(store, away), state(store, here)) == ("pending", "delivered")


def test_what_was_leased_by_one_courier_is_taken_by_no_other_until_it_runs_out(store, clock, courier, receiver):
    delivery = probe(store, clock, add_webhook(store, clock, url(receiver)))
    store.write(lambda c: deliveries.lease(c, now=clock(), until=clock() + timedelta(seconds=30)))
    assert courier.run_once() == 0
    clock.move(seconds=31)  # the first courier died between sending and recording
    assert courier.run_once() == 1
    assert state(store, delivery) == "delivered"


def test_loopback_is_refused_at_connect_unless_allowed(store, clock, receiver):
    delivery = probe(store, clock, add_webhook(store, clock, url(receiver)))
    strict = Courier(store, Settings(), clock)
    strict.run_once()
    assert receiver.got == []
    assert state(store, delivery) == "pending"


def test_the_payload_stays_below_20_kb(store, clock, courier, receiver):
    probe(store, clock, add_webhook(store, clock, url(receiver)))
    courier.run_once()
    assert len(receiver.got[0][1]) < 20_000
    assert set(json.loads(receiver.got[0][1])) == {"type", "timestamp", "data"}
