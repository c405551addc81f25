"""The rows of alerts and of their events: loaded without their content, written many at a time. Decides nothing.

The caller has locked the run, so that the changes to its alerts happen one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.schemas import alert as schema_alert
from relumine.schemas.alert import LASTING, Cause, Kind
from relumine.schemas.base import rfc3339
from relumine_server.alerts.status import AlertLogEntry, AlertStatus
from relumine_server.alerts.suppression import InhibitionInput
from relumine_server.db import keyset, tables
from relumine_server.runs.rows import LockedRun

STATUS_COLUMNS = tuple(column.name for column in fields(AlertStatus))
CONTENT_COLUMNS = ("kind", "cause", "confidence", "title", "message", "evidence", "forecast", "remedies", "upstream")
INTERNAL_COLUMNS = frozenset({"firing_notified_at", "notification_due", "died_at"})
"""Columns of the status that the API does not answer: a change of these alone does not renew ``updated_at``."""

_c = tables.alerts.c
_LOAD = (
    sa.select(
        _c.alert_id, _c.incident_id, _c.layer_id, _c.kind, _c.cause, _c.upstream, _c.updated_at,
        *(_c[name] for name in STATUS_COLUMNS),
        tables.layers.c.name.label("layer"), tables.layers.c.label.label("layer_label"),
    )
    .outerjoin(tables.layers, (tables.layers.c.run_id == _c.run_id) & (tables.layers.c.layer_id == _c.layer_id))
    .where(_c.run_id == sa.bindparam("run"))
    .order_by(_c.layer_id, _c.kind)
)  # fmt: skip


@dataclass(slots=True)
class AlertRecord:
    """An alert within a transaction: its stored status, its status now, and what remains to be written.

    ``status`` is None before the alert was ever raised; ``content`` is set where a finding renewed it.
    """

    alert_id: str
    layer_id: int
    kind: Kind
    incident_id: str = ""
    cause: Cause = "unknown"
    upstream: Sequence[int] = ()
    layer: str | None = None
    layer_label: str | None = None
    status: AlertStatus | None = None
    stored_status: AlertStatus | None = None
    updated_at: datetime | None = None
    content: Mapping[str, Any] | None = None
    log_entries: list[AlertLogEntry] = field(default_factory=list)
    fired_now: bool = False
    acknowledged_now: bool = False

    @property
    def holds(self) -> bool:
        """True while its problem holds, or held when the run ended.

        A person may close the alert of a dead layer or of a silent run; it is dead or silent all the same.
        """
        if self.status is None:
            return False
        is_only_closed = self.status.resolved_by == "person" and self.kind in LASTING
        return self.status.is_open or self.status.state == "ended" or is_only_closed

    @property
    def is_open(self) -> bool:
        """True where the alert was raised and is not resolved."""
        return self.status is not None and self.status.is_open

    def inhibition_input(self, status: AlertStatus) -> InhibitionInput:
        """Return the properties that decide whether this alert inhibits others or is inhibited."""
        return InhibitionInput(
            alert_id=self.alert_id,
            layer_id=self.layer_id,
            kind=self.kind,
            severity=status.severity,
            cause=self.cause,
            state=status.state,
            upstream=self.upstream,
        )


def load_alerts(connection: sa.Connection, run_id: str) -> dict[str, AlertRecord]:
    """Return all alerts of a run by their ids, in the order of layers."""
    alerts = {}
    for row in connection.execute(_LOAD, {"run": run_id}):
        status = AlertStatus(*(getattr(row, name) for name in STATUS_COLUMNS))
        alerts[row.alert_id] = AlertRecord(
            alert_id=row.alert_id,
            incident_id=row.incident_id,
            layer_id=row.layer_id,
            kind=row.kind,
            cause=row.cause,
            upstream=row.upstream or (),
            layer=row.layer,
            layer_label=row.layer_label,
            status=status,
            stored_status=status,
            updated_at=row.updated_at,
        )
    return alerts


def save_alerts(connection: sa.Connection, run: LockedRun, alerts: Sequence[AlertRecord], now: datetime) -> None:
    """Write what changed in alerts of a run, and their new events: at most four statements for any number of alerts."""
    inserts: list[dict[str, Any]] = []
    status_updates: list[dict[str, Any]] = []
    content_updates: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for alert in alerts:
        if alert.status is None:
            continue
        if alert.stored_status is None:
            inserts.append(_insert_row(run, alert, alert.status, now))
        elif alert.content is not None or alert.status != alert.stored_status:
            status_updates.append(_status_update(run, alert, alert.status, now))
            if alert.content is not None:
                content_updates.append(_key(run, alert) | _new_values(_content_values(alert.content)))
        events += [_event_row(run, alert, entry) for entry in alert.log_entries]
    statements = (
        (sa.insert(tables.alerts), inserts),
        (_update((*STATUS_COLUMNS, "updated_at", "incident_id")), status_updates),
        (_update(CONTENT_COLUMNS), content_updates),
        (sa.insert(tables.alert_events), events),
    )
    for statement, rows in statements:
        if rows:
            connection.execute(statement, rows)


def _insert_row(run: LockedRun, alert: AlertRecord, status: AlertStatus, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "layer_id": alert.layer_id,
        "project": run.project,
        "updated_at": now,
        **_status_values(status),
        **_content_values(alert.content or {}),
    }


def _status_update(run: LockedRun, alert: AlertRecord, status: AlertStatus, now: datetime) -> dict[str, Any]:
    updated_at = now if _is_visible_change(alert) else alert.updated_at
    values = {**_status_values(status), "updated_at": updated_at, "incident_id": alert.incident_id}
    return _key(run, alert) | _new_values(values)


def _is_visible_change(alert: AlertRecord) -> bool:
    if alert.content is not None:
        return True
    visible = [name for name in STATUS_COLUMNS if name not in INTERNAL_COLUMNS]
    return any(getattr(alert.status, name) != getattr(alert.stored_status, name) for name in visible)


def _status_values(status: AlertStatus) -> dict[str, Any]:
    return {name: getattr(status, name) for name in STATUS_COLUMNS}


def _content_values(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in CONTENT_COLUMNS}


def _key(run: LockedRun, alert: AlertRecord) -> dict[str, Any]:
    return {"of_run": run.run_id, "of_alert": alert.alert_id}


def _new_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


def _update(names: tuple[str, ...]) -> sa.Update:
    values = {name: sa.bindparam(f"new_{name}", type_=_c[name].type) for name in names}
    key = (_c.run_id == sa.bindparam("of_run"), _c.alert_id == sa.bindparam("of_alert"))
    return sa.update(tables.alerts).where(*key).values(values)


def _event_row(run: LockedRun, alert: AlertRecord, entry: AlertLogEntry) -> dict[str, Any]:
    return {"run_id": run.run_id, "alert_id": alert.alert_id, **entry._asdict()}


def page_events(
    connection: sa.Connection, run_id: str, alert_id: str, position: Sequence[int] | None, limit: int
) -> list[schema_alert.AlertEvent]:
    """Return a page of the events of an alert, oldest first, and one more; ``position`` is (event_number,)."""
    c = tables.alert_events.c
    events = sa.select(tables.alert_events).where(c.run_id == run_id, c.alert_id == alert_id)
    query = keyset.page(events, (c.event_number,), position, limit)
    return [
        schema_alert.AlertEvent(
            event_number=row.event_number,
            occurred_at=rfc3339(row.occurred_at),
            step=row.step,
            event=row.event,
            from_state=row.from_state,
            to_state=row.to_state,
            severity=row.severity,
            author=row.author,
            note=row.note,
        )
        for row in connection.execute(query)
    ]
