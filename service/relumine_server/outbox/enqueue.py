"""The delivery queue: one row for each notification and webhook, written in the transaction of what it reports.

``pending → delivered | failed | cancelled``. The first notification of a run is due at once. Later ones wait for the
webhook's ``group_wait_s``, and alerts of the same run that change meanwhile are merged into the waiting row. A merge
raises the row's revision, so that a payload rendered from an older revision is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import sqlalchemy as sa

from relumine.schemas.webhook import WebhookFormat
from relumine_server.db.tables import deliveries, webhooks
from relumine_server.outbox import alert_refs, endpoints
from relumine_server.outbox.alert_refs import AlertRefs, AlertSeverity
from relumine_server.outbox.endpoints import WebhookRow

_d = deliveries.c
_sequence = count(1)


class DeliveryContent(NamedTuple):
    """The stored content of a delivery. For ``webhook.disabled`` the ``alert_refs`` describe that webhook instead."""

    alert_refs: dict[str, Any]
    payload: str | None
    revision: int


def enqueue(  # noqa: PLR0913 - each by name
    connection: sa.Connection,
    *,
    event: str,
    run_id: str,
    project: str,
    alerts: Sequence[AlertSeverity],
    now: datetime,
    only_format: WebhookFormat | None = None,
) -> int:
    """Write a delivery for each enabled webhook that subscribes to the event; return the number of webhooks.

    With ``only_format`` only for webhooks of that format.

    There are no ``alerts`` for an event of the run itself. Alerts are merged into a delivery of the same run and event
    that is still waiting: ten thousand of them are one row for each webhook.
    """
    subscribers = endpoints.subscribers(connection, event, project)
    if only_format is not None:
        subscribers = [webhook for webhook in subscribers if webhook.format == only_format]
    levels = {webhook.min_severity for webhook in subscribers}
    refs = {min_severity: alert_refs.from_alerts(alerts, min_severity) for min_severity in levels}
    receivers = {webhook.webhook_id: webhook for webhook in subscribers if refs[webhook.min_severity] or not alerts}
    if not receivers:
        return 0
    waiting = _lock_waiting(connection, event, run_id, list(receivers))
    additions = [(row, refs[receivers[webhook_id].min_severity]) for webhook_id, row in waiting.items()]
    _merge_into_waiting(connection, additions, now)
    new = [webhook for webhook_id, webhook in receivers.items() if webhook_id not in waiting]
    notified = _already_notified(connection, run_id, [webhook.webhook_id for webhook in new])
    rows = []
    for webhook in new:
        delay_s = webhook.group_wait_s if webhook.webhook_id in notified else 0.0
        row = _row(webhook, event, now, refs=refs[webhook.min_severity], delay_s=delay_s)
        rows.append(row | {"run_id": run_id, "project": project})
    _insert(connection, rows)
    return len(receivers)


def enqueue_test(connection: sa.Connection, webhook: WebhookRow, now: datetime) -> str:
    """Write a ``webhook.test`` delivery for one webhook; return its id."""
    row = _row(webhook, "webhook.test", now)
    _insert(connection, [row])
    return str(row["delivery_id"])


def enqueue_disabled(connection: sa.Connection, disabled: WebhookRow, reason: str, now: datetime) -> int:
    """Notify the other webhooks that one was disabled; return their number. ``reason`` is a sentence for a person."""
    host = urlsplit(disabled.url).hostname or ""
    described = {"webhook_id": disabled.webhook_id, "host": host, "reason": reason}
    subscribers = endpoints.subscribers_to_disabling(connection, disabled)
    rows = [_row(webhook, "webhook.disabled", now) | {"alert_refs": described} for webhook in subscribers]
    _insert(connection, rows)
    return len(rows)


def read_content(connection: sa.Connection, delivery_id: str) -> DeliveryContent | None:
    """Return the content of a delivery, or None where it was deleted."""
    query = sa.select(_d.alert_refs, _d.payload, _d.revision).where(_d.delivery_id == delivery_id)
    row = connection.execute(query).first()
    return None if row is None else DeliveryContent(*row)


def store_payload(
    connection: sa.Connection, delivery_id: str, payload: str, *, alert_count: int, revision: int
) -> bool:
    """Store the payload rendered from this revision; return False where the delivery has changed since."""
    return _update_unchanged(connection, delivery_id, revision, {"payload": payload, "alert_count": alert_count})


def supersede(connection: sa.Connection, delivery_id: str, now: datetime, *, revision: int) -> bool:
    """Cancel a delivery of which nothing holds any more; return False where it has changed since this revision."""
    values = {"state": "cancelled", "status_reason": "superseded", "alert_count": 0, "updated_at": now}
    return _update_unchanged(connection, delivery_id, revision, values)


def cancel_orphans(connection: sa.Connection, now: datetime) -> int:
    """Cancel deliveries written for a webhook while it was being deleted or disabled; return their number."""
    enabled = sa.select(webhooks.c.webhook_id).where(webhooks.c.enabled)
    orphaned = sa.and_(_d.state == "pending", _d.webhook_id.not_in(enabled))
    cancelled = {"state": "cancelled", "status_reason": "webhook_disabled", "updated_at": now}
    return connection.execute(sa.update(deliveries).where(orphaned).values(**cancelled)).rowcount


def first_id(since: datetime) -> str:
    """Return a lower bound of the ids of all deliveries created at or after ``since``."""
    return f"dlv_{int(since.timestamp() * 1000):012x}"


def _lock_waiting(connection: sa.Connection, event: str, run_id: str, webhook_ids: list[str]) -> dict[str, Any]:
    """Return the deliveries without a payload by webhook, locked: none gets a payload until the transaction ends."""
    query = (
        sa.select(_d.delivery_id, _d.webhook_id, _d.alert_refs, _d.revision)
        .where(_d.run_id == run_id, _d.event == event, _d.state == "pending", _d.payload.is_(None))
        .where(_d.webhook_id.in_(webhook_ids))
        .order_by(_d.delivery_id)
        .with_for_update()
    )
    return {row.webhook_id: row for row in connection.execute(query)}


def _merge_into_waiting(
    connection: sa.Connection, additions: Sequence[tuple[sa.Row[Any], AlertRefs]], now: datetime
) -> None:
    """Add alerts to waiting deliveries.

    The revision rises even where no alert is added: the state of one has changed, and a payload that is being rendered
    may not show it.
    """
    merged: dict[str, AlertRefs] = {}  # most webhooks wait for the same alerts
    values = []
    for row, added in additions:
        key = repr((row.alert_refs, added))
        if key not in merged:
            merged[key] = alert_refs.merge(alert_refs.readable(row.alert_refs), added)
        values.append({
            "id": row.delivery_id,
            "merged": merged[key],
            "total": alert_refs.count(merged[key]),
            "next_revision": row.revision + 1,
        })  # fmt: skip
    if not values:
        return
    columns: dict[str, Any] = {
        "alert_refs": sa.bindparam("merged"),
        "alert_count": sa.bindparam("total"),
        "revision": sa.bindparam("next_revision"),
        "updated_at": now,
    }
    connection.execute(sa.update(deliveries).where(_d.delivery_id == sa.bindparam("id")).values(**columns), values)


def _already_notified(connection: sa.Connection, run_id: str, webhook_ids: list[str]) -> set[str]:
    """Return the webhooks among these that have a delivery of this run."""
    of_run = sa.and_(_d.run_id == run_id, _d.webhook_id.in_(webhook_ids), _d.state != "cancelled")
    return set(connection.scalars(sa.select(_d.webhook_id).where(of_run).distinct()))


def _update_unchanged(connection: sa.Connection, delivery_id: str, revision: int, values: Mapping[str, Any]) -> bool:
    """Set columns of a delivery that has no payload and is still at this revision: optimistic locking."""
    unchanged = sa.and_(_d.delivery_id == delivery_id, _d.revision == revision, _d.payload.is_(None))
    return connection.execute(sa.update(deliveries).where(unchanged).values(**values)).rowcount == 1


def _row(
    webhook: WebhookRow, event: str, now: datetime, *, refs: AlertRefs | None = None, delay_s: float = 0.0
) -> dict[str, Any]:
    """Return a new delivery of no run and no project."""
    return {
        "delivery_id": _new_id(now),
        "webhook_id": webhook.webhook_id,
        "event": event,
        "run_id": "",
        "project": "",
        "alert_refs": refs or {},
        "alert_count": alert_refs.count(refs or {}),
        "state": "pending",
        "next_attempt_at": now + timedelta(seconds=delay_s),
        "attempt_count": 0,
        "attempts_in_cycle": 0,
        "revision": 0,
        "created_at": now,
        "updated_at": now,
    }


def _new_id(now: datetime) -> str:
    """Return an id that sorts by creation: by the millisecond, then by the order of writing in this process."""
    return f"{first_id(now)}{next(_sequence) % 2**32:08x}{uuid4().hex[:12]}"


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(deliveries), rows)
