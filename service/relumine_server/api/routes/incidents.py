"""Routes of incidents, the alerts of a run that have one cause: list, read, acknowledge, resolve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query

from relumine.schemas import base
from relumine.schemas.alert import Cause, Severity
from relumine.schemas.incident import Incident, IncidentState
from relumine_server.alerts import incident_actions, incident_queries
from relumine_server.alerts.repository import AlertRecord
from relumine_server.alerts.run_alerts import RunAlerts
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import DatabaseDep, ServicesDep, SettingsDep, VisibleProject
from relumine_server.api.schemas.common import RUN_ID, Cursor, Limit, Note, UtcTime
from relumine_server.api.services import Services
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import AlertAcknowledged, IncidentNotFound, IncidentResolved, InvalidCursor

router = APIRouter(prefix="/v1/incidents", tags=["alerts"], route_class=StrictQueryRoute)

IncidentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.\d{1,9}$")]


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_incidents(
    database: DatabaseDep,
    settings: SettingsDep,
    project: VisibleProject,
    run_id: Annotated[str | None, Query(pattern=RUN_ID)] = None,
    state: IncidentState | Literal["closed"] | None = None,
    severity: Severity | None = None,
    cause: Cause | None = None,
    since: UtcTime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> base.Page[Incident]:
    """List incidents with their alerts, newest first; ``since`` keeps those that changed at or after a time.

    ``state=closed`` selects those that are ended or resolved.
    """
    position = pagination.decode(cursor, datetime, str, str)
    filters = {
        "run_id": run_id,
        "project": project,
        "state": state,
        "severity": severity,
        "cause": cause,
        "since": since,
    }
    with database.read() as connection:
        rows = incident_queries.select_page(connection, filters, position, limit)
        rows, next_cursor = pagination.cut(rows, limit, lambda row: (row.opened_at, row.run_id, row.incident_id))
        items = incident_queries.incident_views(connection, rows, settings.base_url)
    return base.Page(items=items, next_cursor=next_cursor)


@router.get("/{incident_id}", responses=problem_details.responses(IncidentNotFound))
def read_incident(incident_id: IncidentId, database: DatabaseDep, settings: SettingsDep) -> Incident:
    """Read one incident with its alerts."""
    with database.read() as connection:
        return _find(connection, incident_id, settings.base_url)


@router.post(
    "/{incident_id}/acknowledge",
    responses=problem_details.responses(IncidentNotFound, IncidentResolved, AlertAcknowledged),
)
def acknowledge_incident(incident_id: IncidentId, note: Note, services: ServicesDep) -> Incident:
    """Acknowledge all open alerts of an incident at once. Those that another person has stay that person's."""
    return _change(services, incident_id, partial(incident_actions.acknowledge, author=note.author, note=note.note))


@router.post("/{incident_id}/resolve", responses=problem_details.responses(IncidentNotFound, IncidentResolved))
def resolve_incident(incident_id: IncidentId, note: Note, services: ServicesDep) -> Incident:
    """Resolve all alerts of an incident at once. Each returns as ``regressed`` when the detector raises it again."""
    return _change(services, incident_id, partial(incident_actions.resolve, author=note.author, note=note.note))


def _change(
    services: Services, incident_id: str, change: Callable[[RunAlerts, Sequence[AlertRecord]], None]
) -> Incident:
    """Change an incident in one transaction, so that receivers get one notification, and return it."""

    def work(connection: sa.Connection) -> Incident:
        services.alerts.change_incident(connection, incident_id, change, services.clock())
        return _find(connection, incident_id, services.settings.base_url)

    changed = services.database.write(work)
    services.dispatcher.wake()
    return changed


def _find(connection: sa.Connection, incident_id: str, base_url: str) -> Incident:
    """Return an incident. Raises IncidentNotFound."""
    incident = incident_queries.find(connection, incident_id, base_url)
    if incident is None:
        raise IncidentNotFound
    return incident
