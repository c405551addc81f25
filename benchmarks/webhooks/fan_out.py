"""The cost of enqueueing notifications for the upload that causes them, and of rendering a payload for the dispatcher.

    python -m benchmarks.webhooks.fan_out [--rounds 9] [--alerts 10000] [--databases sqlite postgres]

One ``enqueue`` of alerts for webhooks inside a transaction: first into an empty outbox, then into waiting notifications
that hold half of the alerts already. Then the payload of one notification is rendered and saved. Medians in
milliseconds; the transaction is rolled back each time.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import TypeAlias

import sqlalchemy as sa

from benchmarks.common import postgres
from benchmarks.common.databases import add_option, fresh_database
from relumine.schemas.alert import Severity
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.db.types import UtcTime
from relumine_server.outbox import endpoints
from relumine_server.outbox import enqueue as outbox
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.webhooks.payloads import PendingDelivery, render, save

RUN = "r1"
PROJECT = "p"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SHAPES = ((1, 1), (1, 50), (100, 50), (10_000, 1), (10_000, 50))
"""Numbers of alerts and webhooks."""

Work: TypeAlias = Callable[[sa.Connection], None]
Alerts: TypeAlias = Sequence[tuple[str, Severity]]


def webhook(number: int) -> WebhookRow:
    """Return an endpoint that gets every alert."""
    return WebhookRow(
        webhook_id=f"whk_{number}",
        name=None,
        url=f"https://hooks{number}.example/x",
        format="standard",
        events=["alert.firing"],
        min_severity="warning",
        project=None,
        group_wait_s=30.0,
        enabled=True,
        disabled_reason=None,
        disabled_at=None,
        secret="",
        previous_secrets=[],
        created_at=NOW,
    )


def alert_id(layer_id: int) -> str:
    """Return the id of a layer's alert."""
    return f"{RUN}.{layer_id}.dying"


def alert_row(layer_id: int) -> dict[str, object]:
    """Return an alert with as much evidence as most have."""
    row: dict[str, object] = {}
    for column in tables.alerts.c:
        if not column.nullable:
            row[column.name] = NOW if isinstance(column.type, UtcTime) else 0
    row |= {"kind": "dying", "state": "firing", "severity": "warning", "cause": "unknown", "title": "", "message": ""}
    row |= {"run_id": RUN, "alert_id": alert_id(layer_id), "layer_id": layer_id, "project": PROJECT}
    row |= {"evidence": {str(i): 0.123456 for i in range(30)}, "remedies": []}
    return row


def median_ms(database: Database, rounds: int, prepare: Work, work: Work) -> float:
    """Return milliseconds of ``work`` after ``prepare``, in a transaction that is rolled back."""
    durations = []
    for _ in range(rounds):
        with database.writing_engine.connect() as connection, connection.begin() as transaction:
            prepare(connection)
            start = time.perf_counter()
            work(connection)
            durations.append((time.perf_counter() - start) * 1000)
            transaction.rollback()
    return median(durations)


def enqueue(connection: sa.Connection, alerts: Alerts) -> None:
    """Enqueue alerts that fire."""
    outbox.enqueue(connection, event="alert.firing", run_id=RUN, project=PROJECT, alerts=alerts, now=NOW)


def insert_webhooks(connection: sa.Connection, webhooks: int) -> None:
    """Insert so many endpoints."""
    for number in range(webhooks):
        endpoints.insert(connection, webhook(number))


def insert_run(connection: sa.Connection, alerts: int) -> None:
    """Insert a run with so many alerts."""
    run = {"run_id": RUN, "project": PROJECT, "status": "running", "config": {}, "tags": [], "dropped": {}}
    moments = {"longest_gap_s": 0, "created_at": NOW, "updated_at": NOW}
    connection.execute(sa.insert(tables.runs).values(**run, **moments))
    connection.execute(sa.insert(tables.alerts), [alert_row(layer_id) for layer_id in range(1, alerts + 1)])


def render_payload(connection: sa.Connection) -> None:
    """Render and save the payload of a delivery."""
    row = connection.execute(sa.select(tables.deliveries).limit(1)).one()
    pending = PendingDelivery(row.delivery_id, row.event, row.run_id, row.created_at)
    draft = render(connection, pending, webhook(0), "http://x")
    if draft is None or not save(connection, pending, webhook(0), draft, NOW):
        raise RuntimeError("no payload was rendered")


def report(kind: str, database: Database, alerts: int, webhooks: int, rounds: int) -> None:
    """Measure one shape and print its line."""
    firing: Alerts = [(alert_id(layer_id), "warning") for layer_id in range(1, alerts + 1)]

    def prepare_empty(connection: sa.Connection) -> None:
        insert_webhooks(connection, webhooks)

    def prepare_half(connection: sa.Connection) -> None:
        insert_webhooks(connection, webhooks)
        enqueue(connection, firing[: max(alerts // 2, 1)])

    def prepare_delivery(connection: sa.Connection) -> None:
        insert_webhooks(connection, webhooks)
        insert_run(connection, alerts)
        enqueue(connection, firing)

    empty_ms = median_ms(database, rounds, prepare_empty, lambda connection: enqueue(connection, firing))
    half_ms = median_ms(database, rounds, prepare_half, lambda connection: enqueue(connection, firing))
    payload_ms = median_ms(database, rounds, prepare_delivery, render_payload)
    print(f"{kind:<9} {alerts:>7,} {webhooks:>9} {empty_ms:>11.1f} {half_ms:>18.1f} {payload_ms:>11.1f}", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--alerts", type=int, default=10_000, help="leave out shapes with more alerts than this")
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = parser().parse_args(arguments)
    print(f"{'':<9} {'alerts':>7} {'webhooks':>9} {'enqueue ms':>11} {'half is waiting ms':>18} {'payload ms':>11}")
    for kind in options.databases:
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres.running()) if kind == "postgres" else None
            database = Database.open(stack.enter_context(fresh_database(cluster)))
            stack.callback(database.close)
            migrations.upgrade(database.writing_engine)
            for alerts, webhooks in SHAPES:
                if alerts <= options.alerts:
                    report(kind, database, alerts, webhooks, options.rounds)


if __name__ == "__main__":
    main()
