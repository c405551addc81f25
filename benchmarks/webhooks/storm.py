"""What telling costs the upload that causes it, and what writing a payload costs the courier.

    python benchmarks/webhooks/storm.py

One `enqueue` of alerts for webhooks inside a transaction, on SQLite and on Postgres: first into an empty outbox, then
into notifications that wait and hold half of the alerts already. Then the payload of one of them is written. Median of
nine, in milliseconds; the transaction is rolled back each time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import running

from relumine.views import Severity
from relumine_server.storage import deliveries, migrate
from relumine_server.storage import tables as t
from relumine_server.storage import webhooks as webhook_rows
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.store import Store
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.freezing import Unwritten, compose, keep

ROUNDS = 9
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SHAPES = ((1, 1), (1, 50), (100, 50), (10_000, 1), (10_000, 50))


@contextmanager
def stores() -> Iterator[list[tuple[str, Store]]]:
    """An empty store of each kind."""
    with tempfile.TemporaryDirectory() as folder, running() as cluster:
        opened = [("sqlite", Store.open(f"sqlite:///{folder}/x.db")), ("postgres", Store.open(cluster.new_database()))]
        for _, store in opened:
            migrate.upgrade(store.writing_engine)
        yield opened
        for _, store in opened:
            store.close()


def webhook(number: int) -> WebhookRow:
    """A receiver of everything."""
    return WebhookRow(
        webhook_id=f"whk_{number}",
        url=f"https://hooks{number}.example/x",
        format="standard",
        events=["alert.firing"],
        severity="warning",
        project=None,
        group_wait_s=30.0,
        enabled=True,
        disabled_reason=None,
        disabled_at=None,
        secret="",
        retiring=[],
        created_at=NOW,
    )


def alert_row(layer_id: int) -> dict[str, object]:
    """An alert with as much evidence as most have."""
    row: dict[str, object] = {column.name: 0 for column in t.alerts.c if not column.nullable}
    row |= {column.name: NOW for column in t.alerts.c if not column.nullable and isinstance(column.type, UtcTime)}
    said = {"kind": "dying", "state": "firing", "severity": "warning", "cause": "unknown", "title": "", "message": ""}
    key = {"run_id": "r1", "alert_id": f"r1.{layer_id}.dying", "layer_id": layer_id, "project": "p"}
    return row | said | key | {"evidence": {str(i): 0.123456 for i in range(30)}, "remedies": []}


def median_ms(store: Store, work: Callable[[sa.Connection], None], before: Callable[[sa.Connection], None]) -> float:
    """Milliseconds of ``work`` after ``before``, in a transaction that is rolled back."""
    taken = []
    for _ in range(ROUNDS):
        with store.writing_engine.connect() as connection, connection.begin() as transaction:
            before(connection)
            began = time.perf_counter()
            work(connection)
            taken.append((time.perf_counter() - began) * 1000)
            transaction.rollback()
    return median(taken)


def report(name: str, store: Store, alerts: int, webhooks: int) -> None:
    """One line."""
    about: list[tuple[str, Severity]] = [(f"r1.{layer_id}.dying", "warning") for layer_id in range(1, alerts + 1)]

    def told(connection: sa.Connection, some: Sequence[tuple[str, Severity]]) -> None:
        deliveries.enqueue(connection, event="alert.firing", run_id="r1", project="p", alerts=some, now=NOW)

    def receivers(connection: sa.Connection) -> None:
        for number in range(webhooks):
            webhook_rows.insert(connection, webhook(number))

    def written(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(t.deliveries).limit(1)).one()
        unwritten = Unwritten(row.delivery_id, row.event, row.run_id, row.created_at)
        draft = compose(connection, unwritten, webhook(0), "http://x")
        assert draft is not None  # noqa: S101 - else it measures nothing
        assert keep(connection, unwritten, webhook(0), draft, NOW)  # noqa: S101

    def filled(connection: sa.Connection) -> None:
        receivers(connection)
        run = {
            "run_id": "r1",
            "project": "p",
            "state": "running",
            "config": {},
            "tags": [],
            "dropped": {},
            "pause_s": 0,
        }
        connection.execute(sa.insert(t.runs).values(**run, created_at=NOW, updated_at=NOW))
        connection.execute(sa.insert(t.alerts), [alert_row(layer_id) for layer_id in range(1, alerts + 1)])
        told(connection, about)

    def half(connection: sa.Connection) -> None:
        receivers(connection)
        told(connection, about[: max(alerts // 2, 1)])

    new = median_ms(store, lambda c: told(c, about), receivers)
    more = median_ms(store, lambda c: told(c, about), half)
    payload = median_ms(store, written, filled)
    print(f"{name:<9} {alerts:>7,} {webhooks:>9} {new:>11.1f} {more:>18.1f} {payload:>11.1f}", flush=True)


def main() -> None:
    """A table."""
    print(f"{'':<9} {'alerts':>7} {'webhooks':>9} {'enqueue ms':>11} {'half is waiting ms':>18} {'payload ms':>11}")
    with stores() as opened:
        for name, store in opened:
            for alerts, webhooks in SHAPES:
                report(name, store, alerts, webhooks)


if __name__ == "__main__":
    main()
