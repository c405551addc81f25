"""The outbox: what is to be told to whom. A delivery is written in the transaction of what it tells of.

``pending → delivered | failed | cancelled``. News of one run for one webhook is gathered while it waits: the first of a
run goes out at once, what follows waits a little for company. Nothing here sends; ``lines`` says who may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import sqlalchemy as sa

from relumine.views import Severity
from relumine_server.storage import subjects
from relumine_server.storage import webhooks as webhook_rows
from relumine_server.storage.subjects import Subject
from relumine_server.storage.tables import deliveries, webhooks
from relumine_server.storage.webhooks import WebhookRow

_c = deliveries.c
_numbers = count(1)


def enqueue(
    connection: sa.Connection,
    *,
    event: str,
    run_id: str,
    project: str,
    alerts: Sequence[tuple[str, Severity]],
    now: datetime,
) -> int:
    """Tell every enabled webhook that wants to hear it; the number of them.

    ``alerts`` are (alert_id, severity), none for an event of the run itself. What waits already for a webhook, of this
    run and event, takes them in: ten thousand alerts are one row for each.
    """
    wanting = webhook_rows.wanting(connection, event, project)
    found = {least: subjects.of(alerts, least) for least in {webhook.severity for webhook in wanting}}
    hearing = {webhook.webhook_id: webhook for webhook in wanting if found[webhook.severity] or not alerts}
    if not hearing:
        return 0
    waiting = _waiting(connection, event, run_id, list(hearing))
    _take_in(connection, [(row, found[hearing[row.webhook_id].severity]) for row in waiting.values()], now)
    new = [webhook for webhook_id, webhook in hearing.items() if webhook_id not in waiting]
    known = _known(connection, run_id, [webhook.webhook_id for webhook in new])
    about = {"event": event, "run_id": run_id, "project": project}
    _insert(
        connection,
        [
            _row(webhook, about, found[webhook.severity], now, waits=webhook.webhook_id in known)
            for webhook in new
        ],
    )  # fmt: skip
    return len(hearing)


def enqueue_probe(connection: sa.Connection, webhook: WebhookRow, now: datetime) -> str:
    """Write a ``webhook.test`` delivery for one webhook; its id."""
    row = _row(webhook, {"event": "webhook.test", "run_id": "", "project": ""}, {}, now, waits=False)
    _insert(connection, [row])
    return str(row["delivery_id"])


def enqueue_disabled(connection: sa.Connection, disabled: WebhookRow, reason: str, now: datetime) -> int:
    """Tell the others that a webhook was disabled; the number of them. ``reason`` is a sentence for a person."""
    wanting = webhook_rows.wanting_of(connection, disabled)
    subject = {"webhook_id": disabled.webhook_id, "host": urlsplit(disabled.url).hostname or "", "reason": reason}
    about = {"event": "webhook.disabled", "run_id": "", "project": ""}
    rows = [_row(webhook, about, {}, now, waits=False) | {"subject": subject} for webhook in wanting]
    _insert(connection, rows)
    return len(rows)


def cancel_orphans(connection: sa.Connection, now: datetime) -> int:
    """Call off what was written for a webhook while it was being deleted or disabled; the number of them."""
    enabled = sa.select(webhooks.c.webhook_id).where(webhooks.c.enabled)
    orphaned = sa.and_(_c.state == "pending", _c.webhook_id.not_in(enabled))
    values = {"state": "cancelled", "reason": "webhook_disabled", "updated_at": now}
    return connection.execute(sa.update(deliveries).where(orphaned).values(**values)).rowcount


def _waiting(connection: sa.Connection, event: str, run_id: str, webhook_ids: list[str]) -> dict[str, Any]:
    """What has no payload yet, by webhook. It is locked: no courier writes a payload before this transaction ends."""
    query = (
        sa.select(_c.delivery_id, _c.webhook_id, _c.subject, _c.taken)
        .where(_c.run_id == run_id, _c.event == event, _c.state == "pending", _c.payload.is_(None))
        .where(_c.webhook_id.in_(webhook_ids))
        .order_by(_c.delivery_id)
        .with_for_update()
    )
    return {row.webhook_id: row for row in connection.execute(query)}


def _take_in(connection: sa.Connection, found: Sequence[tuple[Any, Subject]], now: datetime) -> None:
    """Add alerts to what waits. It counts even where none is new: a payload that is being written is too old then."""
    merged: dict[str, Subject] = {}  # most webhooks wait for the same
    values = []
    for row, more in found:
        both = repr((row.subject, more))
        if both not in merged:
            merged[both] = subjects.merge(row.subject, more)
        number = subjects.count(merged[both])
        values.append({"taking": row.delivery_id, "merged": merged[both], "number": number, "times": row.taken + 1})
    if values:
        change = sa.update(deliveries).where(_c.delivery_id == sa.bindparam("taking"))
        taken: dict[str, Any] = {
            "subject": sa.bindparam("merged"),
            "alerts": sa.bindparam("number"),
            "taken": sa.bindparam("times"),
        }
        connection.execute(change.values(**taken, updated_at=now), values)


def _known(connection: sa.Connection, run_id: str, webhook_ids: list[str]) -> set[str]:
    """The webhooks among these that were told of this run before."""
    told = sa.select(_c.webhook_id).where(_c.run_id == run_id, _c.webhook_id.in_(webhook_ids), _c.state != "cancelled")
    return set(connection.scalars(told.distinct()))


def _row(
    webhook: WebhookRow, about: Mapping[str, str], subject: Subject, now: datetime, *, waits: bool
) -> dict[str, Any]:
    wait = timedelta(seconds=webhook.group_wait_s if waits else 0)
    return {
        "delivery_id": _new_id(now),
        "webhook_id": webhook.webhook_id,
        **about,
        "subject": subject,
        "alerts": subjects.count(subject),
        "state": "pending",
        "due_at": now + wait,
        "attempt": 0,
        "tried": 0,
        "taken": 0,
        "created_at": now,
        "updated_at": now,
    }


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(deliveries), rows)


def id_before(moment: datetime) -> str:
    """What the ids of all deliveries from this moment on come behind."""
    return f"dlv_{int(moment.timestamp() * 1000):012x}"


def _new_id(now: datetime) -> str:
    """An id that sorts by creation: by the millisecond, then by the order in which this process wrote."""
    return f"{id_before(now)}{next(_numbers) % 2**32:08x}{uuid4().hex[:12]}"
