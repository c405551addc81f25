"""Alerts: list, read, acknowledge, resolve."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from relumine import views
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, CourierDep, ProjectShown, SettingsDep, StoreDep
from relumine_server.api.schemas import RUN_ID, Cursor, Limit, Note
from relumine_server.errors import AlertNotFound, AlertResolved, BadCursor
from relumine_server.storage import alerts, deliveries

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])

AlertId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.\d{1,16}\.[a-z_]{1,32}$")]


@router.get("", responses=problems.responses(BadCursor))
def list_alerts(
    store: StoreDep,
    settings: SettingsDep,
    project: ProjectShown,
    run_id: Annotated[str | None, Query(pattern=RUN_ID)] = None,
    state: views.AlertState | None = None,
    severity: views.Severity | None = None,
    since: AwareDatetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> views.Page[views.Alert]:
    """Alerts, newest first; ``since`` keeps those that moved at or after a time."""
    after = cursors.decode(cursor, 3)
    filters = {"run_id": run_id, "project": project, "state": state, "severity": severity, "since": since}
    with store.read() as connection:
        rows = alerts.select_page(connection, filters, after, limit + 1)
    shown = [alerts.view(row, settings.base_url) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    following = cursors.encode([last.opened_at, last.run_id, last.alert_id]) if last else None
    return views.Page(items=shown, next_cursor=following)


@router.get("/{alert_id}", responses=problems.responses(AlertNotFound))
def read_alert(alert_id: AlertId, store: StoreDep, settings: SettingsDep) -> views.Alert:
    """One alert."""
    with store.read() as connection:
        return _one(connection, alert_id, settings.base_url)


@router.post("/{alert_id}/acknowledge", responses=problems.responses(AlertNotFound, AlertResolved))
def acknowledge_alert(
    alert_id: AlertId, note: Note, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> views.Alert:
    """Say that somebody is on it."""
    moved = store.write(lambda c: _move(c, alert_id, "acknowledged", note, settings.base_url, clock()))
    courier.wake()
    return moved


@router.post("/{alert_id}/resolve", responses=problems.responses(AlertNotFound, AlertResolved))
def resolve_alert(
    alert_id: AlertId, note: Note, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> views.Alert:
    """Close an alert by hand; it regresses when the detector raises it again."""
    moved = store.write(lambda c: _move(c, alert_id, "resolved", note, settings.base_url, clock()))
    courier.wake()
    return moved


def _move(
    connection: sa.Connection,
    alert_id: str,
    to: Literal["acknowledged", "resolved"],
    note: Note,
    base_url: str,
    now: datetime,
) -> views.Alert:
    run_id = alerts.run_of(alert_id)
    before = alerts.load(connection, run_id, alert_id)
    if before is None:
        raise AlertNotFound
    if before.state == "resolved":
        raise AlertResolved
    values: dict[str, Any] = {"state": to, "updated_at": now}
    if to == "resolved":
        reason = f"{alerts.BY_HAND}{note.author}" + (f": {note.note}" if note.note else "")
        values |= {"resolved_at": now, "resolved_step": before.opened_step, "resolved_reason": reason}
    alerts.update(connection, run_id, alert_id, values)
    if before.severity != "info":
        deliveries.enqueue(
            connection, event=f"alert.{to}", run_id=run_id, project=before.project, alert_ids=[alert_id], now=now
        )
    return _one(connection, alert_id, base_url)


def _one(connection: sa.Connection, alert_id: str, base_url: str) -> views.Alert:
    found = alerts.find(connection, alerts.run_of(alert_id), [alert_id], base_url)
    if not found:
        raise AlertNotFound
    return found[0]
