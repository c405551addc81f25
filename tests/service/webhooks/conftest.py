"""A store on both databases, a clock that stands, a courier in the test's own thread, receivers on real sockets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from live_server import caller
from receiver import receiving

from relumine_server.app import create_app
from relumine_server.settings import Settings
from relumine_server.storage import deliveries, dialect, migrate, webhooks
from relumine_server.storage import tables as t
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.store import Store
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.courier import Courier

SECRET = "whsec_" + "A" * 43 + "="
ALL = ["alert.firing", "alert.resolved", "alert.acknowledged", "run.finished", "webhook.test", "webhook.disabled"]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 14, tzinfo=UTC)

    def __call__(self):
        return self.now

    def move(self, **by):
        self.now += timedelta(**by)


class Desk(NamedTuple):
    """Everything of the outbox in one hand."""

    store: Store
    clock: Clock
    courier: Courier

    def add(self, url, **changes):
        """A webhook."""
        row = WebhookRow(**{
            "webhook_id": f"whk_{self.count(t.webhooks)}", "url": url, "format": "standard", "events": ALL,
            "severity": "warning", "project": None, "group_wait_s": 30.0, "enabled": True, "disabled_reason": None,
            "disabled_at": None, "secret": SECRET, "retiring": [], "created_at": self.clock(), **changes,
        })  # fmt: skip
        self.store.write(lambda c: webhooks.insert(c, row))
        return row

    def probe(self, webhook):
        """A test for a webhook."""
        return self.store.write(lambda c: deliveries.enqueue_probe(c, webhook, self.clock()))

    def tell(self, event, run_id, *alerts, project="digits"):
        """News of alerts of a run."""
        about = [(f"{run_id}.{layer}.{kind}", severity) for layer, kind, severity in alerts]
        return self.store.write(
            lambda c: deliveries.enqueue(c, event=event, run_id=run_id, project=project, alerts=about, now=self.clock())
        )

    def alert(self, run_id, layer, kind="dying", state="firing", severity="warning"):
        """An alert of a run, inserted or changed, as the life of alerts would have left it; what tells of it."""
        self._store_alerts(run_id, [self._alert(run_id, layer, kind, state, severity)])
        return layer, kind, severity

    def alerts(self, run_id, count, worst):
        """As many alerts of a run at once, one of them critical; what tells of them."""
        severities = {worst: "critical"}
        told = [(layer, "dying", severities.get(layer, "warning")) for layer in range(1, count + 1)]
        self._store_alerts(run_id, [self._alert(run_id, layer, kind, "firing", one) for layer, kind, one in told])
        return told

    def _alert(self, run_id, layer, kind, state, severity):
        row = {
            "run_id": run_id, "alert_id": f"{run_id}.{layer}.{kind}", "layer_id": layer, "kind": kind, "state": state,
            "severity": severity, "cause": "unknown", "message": "", "project": "digits", "evidence": {},
            "title": f"act{layer} is {kind}", "remedies": [],
        }  # fmt: skip
        for column in t.alerts.c:
            if not column.nullable and column.name not in row:
                row[column.name] = self.clock() if isinstance(column.type, UtcTime) else 0
        return row

    def _store_alerts(self, run_id, rows):
        run = {"run_id": run_id, "project": "digits", "state": "running", "config": {}, "tags": [], "dropped": {}}
        run |= {"created_at": self.clock(), "updated_at": self.clock(), "pause_s": 0}

        def work(connection):
            for table, some in ((t.runs, [run]), (t.alerts, rows)):
                keys = [column.name for column in table.primary_key]
                statement = dialect.insert(connection, table)
                changed = {name: statement.excluded[name] for name in some[0]}
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), some)

        self.store.write(work)

    def count(self, table):
        """Rows of a table."""
        with self.store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table))

    def rows(self):
        """All deliveries, the oldest first."""
        with self.store.read() as connection:
            return connection.execute(sa.select(t.deliveries).order_by(t.deliveries.c.delivery_id)).all()

    def state(self, delivery_id):
        """The state of a delivery."""
        return next(row.state for row in self.rows() if row.delivery_id == delivery_id)

    def webhook(self, webhook_id):
        """A webhook as it is now."""
        with self.store.read() as connection:
            return webhooks.find(connection, webhook_id)

    def send(self, **wait):
        """Let time pass, then send all that is due; the number of attempts."""
        self.clock.move(**wait)
        made = 0
        while attempted := self.courier.run_once():
            made += attempted
        return made


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture
def another():
    with receiving() as server:
        yield server


@pytest.fixture
def store(database_url):
    opened = Store.open(database_url)
    migrate.upgrade(opened.writing_engine)
    yield opened
    opened.close()


@pytest.fixture
def desk(store):
    clock = Clock()
    settings = Settings(webhook_allow_loopback=True, webhook_timeout_s=2)
    return Desk(store, clock, Courier(store, settings, clock, jitter=lambda: 0.0))


@pytest.fixture
def heard():
    """What a receiver got, as (event, layers), in order."""

    def of(receiver):
        found = []
        for _, body in receiver.got:
            document = json.loads(body)
            layers = sorted(alert["layer_id"] for alert in document["data"]["alerts"])
            found.append((document["type"].removeprefix("alert."), layers))
        return found

    return of


@pytest.fixture
def desk_app(desk):
    """The application over the desk's store and clock; its courier is the desk's."""
    made = create_app(Settings(webhook_allow_loopback=True), store=desk.store, clock=desk.clock)
    made.state.courier = desk.courier
    return made


@pytest.fixture
def api(desk_app):
    """One request to it, its status judged, its JSON given."""
    send = caller(desk_app)

    def ask(method, path, status=200, **body):
        answer = send(method, f"/v1{path}", json=body or None)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    return ask


@pytest.fixture
def added(api, receiver):
    return api("POST", "/webhooks", 201, url=receiver.url, events=["alert.firing", "alert.resolved"])
