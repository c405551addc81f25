"""An outbox on a real database, with a clock that stands still and a dispatcher in the test's own thread."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.webhook import EVENTS
from relumine_server.db import dialect, tables
from relumine_server.db.database import Database
from relumine_server.db.types import UtcTime
from relumine_server.outbox import endpoints
from relumine_server.outbox import enqueue as outbox
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.webhooks.dispatcher import WebhookDispatcher

SECRET = "whsec_" + "A" * 43 + "="


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 14, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, **duration):
        self.now += timedelta(**duration)


class OutboxHarness(NamedTuple):
    """A database, its clock and its dispatcher, with shortcuts for what tests of the outbox do."""

    database: Database
    clock: Clock
    dispatcher: WebhookDispatcher

    def add_webhook(self, url, **changes):
        """Store a webhook that subscribes to every event."""
        webhook = WebhookRow(**{
            "webhook_id": f"whk_{self.count_rows(tables.webhooks)}", "name": None, "url": url, "format": "standard",
            "events": list(EVENTS), "min_severity": "warning", "project": None, "group_wait_s": 30.0, "enabled": True,
            "disabled_reason": None, "disabled_at": None, "secret": SECRET, "previous_secrets": [],
            "created_at": self.clock(), **changes,
        })  # fmt: skip
        self.database.write(lambda connection: endpoints.insert(connection, webhook))
        return webhook

    def enqueue_test(self, webhook):
        """Write a ``webhook.test`` delivery; return its id."""
        return self.database.write(lambda connection: outbox.enqueue_test(connection, webhook, self.clock()))

    def enqueue(self, event, run_id, *alerts, project="digits"):
        """Enqueue alerts of a run, as ``store_alert`` returns them; return the number of webhooks."""
        identified = [(f"{run_id}.{layer}.{kind}", severity) for layer, kind, severity in alerts]
        return self.database.write(
            lambda connection: outbox.enqueue(
                connection, event=event, run_id=run_id, project=project, alerts=identified, now=self.clock()
            )
        )

    def store_alert(self, run_id, layer, kind="dying", state="firing", severity="warning"):
        """Insert or change an alert of a run; return the alert for ``enqueue``."""
        self._store_alerts(run_id, [self._alert_row(run_id, layer, kind, state, severity)])
        return layer, kind, severity

    def store_alerts(self, run_id, count, *, critical_layer):
        """Insert alerts of so many layers at once, one of them critical; return the alerts for ``enqueue``."""
        alerts = [(layer, "dying", "warning") for layer in range(1, count + 1)]
        alerts[critical_layer - 1] = (critical_layer, "dying", "critical")
        rows = [self._alert_row(run_id, layer, kind, "firing", severity) for layer, kind, severity in alerts]
        self._store_alerts(run_id, rows)
        return alerts

    def count_rows(self, table):
        """Return the number of rows of a table."""
        with self.database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table))

    def deliveries(self):
        """Return the rows of all deliveries, the oldest first."""
        with self.database.read() as connection:
            return connection.execute(sa.select(tables.deliveries).order_by(tables.deliveries.c.delivery_id)).all()

    def delivery_state(self, delivery_id):
        """Return the state of a delivery."""
        return next(row.state for row in self.deliveries() if row.delivery_id == delivery_id)

    def webhook(self, webhook_id):
        """Return a webhook as it is stored now."""
        with self.database.read() as connection:
            return endpoints.find(connection, webhook_id)

    def send_due(self, **wait):
        """Advance the clock, then send everything that is due; return the number of attempts."""
        self.clock.advance(**wait)
        total = 0
        while attempts := self.dispatcher.run_once():
            total += attempts
        return total

    def _alert_row(self, run_id, layer, kind, state, severity):
        row = {
            "run_id": run_id, "alert_id": f"{run_id}.{layer}.{kind}", "layer_id": layer, "kind": kind, "state": state,
            "incident_id": f"{run_id}.1",
            "severity": severity, "cause": "unknown", "message": "", "project": "digits", "evidence": {},
            "title": f"act{layer} is {kind}", "remedies": [],
        }  # fmt: skip
        for column in tables.alerts.c:
            if not column.nullable and column.name not in row:
                row[column.name] = self.clock() if isinstance(column.type, UtcTime) else 0
        return row

    def _store_alerts(self, run_id, alert_rows):
        run = {"run_id": run_id, "project": "digits", "status": "running", "config": {}, "tags": [], "dropped": {}}
        run |= {"created_at": self.clock(), "updated_at": self.clock(), "longest_gap_s": 0}

        def upsert(connection):
            for table, rows in ((tables.runs, [run]), (tables.alerts, alert_rows)):
                statement = dialect.insert(connection, table)
                primary_key = [column.name for column in table.primary_key]
                replaced = {name: statement.excluded[name] for name in rows[0]}
                connection.execute(statement.on_conflict_do_update(index_elements=primary_key, set_=replaced), rows)

        self.database.write(upsert)
