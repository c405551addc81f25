"""Routes of alerts: list, read, acknowledge, resolve, and the events of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query

from relumine.schemas import alert, base
from relumine_server.alerts import queries as alert_queries
from relumine_server.alerts import remedy_outcomes
from relumine_server.alerts import repository as alert_repository
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import (
    AlertsDep,
    ClockDep,
    DatabaseDep,
    DispatcherDep,
    SettingsDep,
    VisibleProject,
)
from relumine_server.api.schemas.common import RUN_ID, Cursor, Limit, Note, UtcTime
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import AlertAcknowledged, AlertNotFound, AlertResolved, InvalidCursor
from relumine_server.outbox import alert_refs

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=StrictQueryRoute)

AlertId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.\d{1,16}\.[a-z_]{1,32}$")]


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_alerts(
    database: DatabaseDep,
    settings: SettingsDep,
    project: VisibleProject,
    run_id: Annotated[str | None, Query(pattern=RUN_ID)] = None,
    state: alert.AlertState | Literal["open"] | None = None,
    severity: alert.Severity | None = None,
    kind: alert.Kind | None = None,
    since: UtcTime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> base.Page[alert.Alert]:
    """List alerts, newest first; ``since`` keeps those that changed at or after a time.

    ``state=open`` selects the states of an alert whose problem holds while its run goes on.
    """
    position = pagination.decode(cursor, datetime, str, str)
    filters = {
        "run_id": run_id,
        "project": project,
        "state": state,
        "severity": severity,
        "kind": kind,
        "since": since,
    }
    with database.read() as connection:
        rows = alert_queries.select_page(connection, filters, position, limit)
    rows, next_cursor = pagination.cut(rows, limit, lambda row: (row.opened_at, row.run_id, row.alert_id))
    items = [alert_queries.alert_view(row, settings.base_url) for row in rows]
    return base.Page(items=items, next_cursor=next_cursor)


@router.get("/{alert_id}", responses=problem_details.responses(AlertNotFound))
def read_alert(alert_id: AlertId, database: DatabaseDep, settings: SettingsDep) -> alert.AlertDetail:
    """Read one alert, with the outcome of the remedies that were applied to it."""
    with database.read() as connection:
        return _detail(connection, alert_id, settings.base_url)


@router.get("/{alert_id}/events", responses=problem_details.responses(AlertNotFound, InvalidCursor))
def list_events(
    alert_id: AlertId, database: DatabaseDep, cursor: Cursor = None, limit: Limit = 50
) -> base.Page[alert.AlertEvent]:
    """List the events of an alert, oldest first: every transition of its state."""
    position = pagination.decode(cursor, pagination.COUNTS)
    run_id = alert_refs.run_of(alert_id)
    with database.read() as connection:
        _detail(connection, alert_id, "")
        events = alert_repository.page_events(connection, run_id, alert_id, position, limit)
    items, next_cursor = pagination.cut(events, limit, lambda event: (event.event_number,))
    return base.Page(items=items, next_cursor=next_cursor)


@router.post(
    "/{alert_id}/acknowledge", responses=problem_details.responses(AlertNotFound, AlertResolved, AlertAcknowledged)
)
def acknowledge_alert(
    alert_id: AlertId,
    note: Note,
    alerts: AlertsDep,
    database: DatabaseDep,
    settings: SettingsDep,
    clock: ClockDep,
    dispatcher: DispatcherDep,
) -> alert.AlertDetail:
    """Acknowledge an alert. The first person keeps it; another one is answered with that person's name."""

    def work(connection: sa.Connection) -> alert.AlertDetail:
        alerts.acknowledge(connection, alert_id, note.author, note.note, clock())
        return _detail(connection, alert_id, settings.base_url)

    changed = database.write(work)
    dispatcher.wake()
    return changed


@router.post("/{alert_id}/resolve", responses=problem_details.responses(AlertNotFound, AlertResolved))
def resolve_alert(
    alert_id: AlertId,
    note: Note,
    alerts: AlertsDep,
    database: DatabaseDep,
    settings: SettingsDep,
    clock: ClockDep,
    dispatcher: DispatcherDep,
) -> alert.AlertDetail:
    """Resolve an alert. It returns as ``regressed`` when the detector raises it again or finds it worse."""

    def work(connection: sa.Connection) -> alert.AlertDetail:
        alerts.resolve(connection, alert_id, note.author, note.note, clock())
        return _detail(connection, alert_id, settings.base_url)

    changed = database.write(work)
    dispatcher.wake()
    return changed


def _detail(connection: sa.Connection, alert_id: str, base_url: str) -> alert.AlertDetail:
    alerts = alert_queries.find(connection, alert_refs.run_of(alert_id), [alert_id], base_url)
    if not alerts:
        raise AlertNotFound
    return alert.AlertDetail(**dict(alerts[0]), remedy_outcomes=remedy_outcomes.outcomes_of(connection, alerts[0]))
