"""Alerts: list, read, acknowledge, resolve, and what became of each."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query

from relumine import views
from relumine_server import alerting
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, CourierDep, ProjectShown, SettingsDep, StoreDep
from relumine_server.api.schemas import RUN_ID, Cursor, Limit, Moment, Note
from relumine_server.errors import AlertAcknowledged, AlertNotFound, AlertResolved, BadCursor
from relumine_server.storage import alerts, history, treatments

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
    since: Moment | None = None,
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
def read_alert(alert_id: AlertId, store: StoreDep, settings: SettingsDep) -> views.TreatedAlert:
    """One alert, and what became of the remedies that were applied to it."""
    with store.read() as connection:
        return _one(connection, alert_id, settings.base_url)


@router.get("/{alert_id}/history", responses=problems.responses(AlertNotFound, BadCursor))
def read_history(
    alert_id: AlertId, store: StoreDep, cursor: Cursor = None, limit: Limit = 50
) -> views.Page[views.HistoryEntry]:
    """Every transition of an alert, the oldest first."""
    after = cursors.decode_step(cursor) or 0
    run_id = alerts.run_of(alert_id)
    with store.read() as connection:
        _one(connection, alert_id, "")
        entries = history.page(connection, run_id, alert_id, after, limit + 1)
    following = entries[limit - 1].number if len(entries) > limit else None
    return views.Page(items=entries[:limit], next_cursor=cursors.encode_step(following))


@router.post("/{alert_id}/acknowledge", responses=problems.responses(AlertNotFound, AlertResolved, AlertAcknowledged))
def acknowledge_alert(
    alert_id: AlertId, note: Note, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> views.TreatedAlert:
    """Say that somebody is on it. The first one stands; the second is told who that is."""

    def work(connection: sa.Connection) -> views.TreatedAlert:
        alerting.acknowledge(connection, alert_id, note.author, note.note, clock())
        return _one(connection, alert_id, settings.base_url)

    moved = store.write(work)
    courier.wake()
    return moved


@router.post("/{alert_id}/resolve", responses=problems.responses(AlertNotFound, AlertResolved))
def resolve_alert(
    alert_id: AlertId, note: Note, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> views.TreatedAlert:
    """Close an alert by hand. It returns, as ``regressed``, when the detector raises it anew or finds it worse."""

    def work(connection: sa.Connection) -> views.TreatedAlert:
        alerting.resolve(connection, alert_id, note.author, note.note, clock())
        return _one(connection, alert_id, settings.base_url)

    moved = store.write(work)
    courier.wake()
    return moved


def _one(connection: sa.Connection, alert_id: str, base_url: str) -> views.TreatedAlert:
    found = alerts.find(connection, alerts.run_of(alert_id), [alert_id], base_url)
    if not found:
        raise AlertNotFound
    return views.TreatedAlert(**dict(found[0]), treatments=treatments.of(connection, found[0]))
