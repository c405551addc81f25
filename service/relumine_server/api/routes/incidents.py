"""Routes of incidents: the alerts of a run that have one cause, as one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from relumine.schemas import base
from relumine.schemas.alert import Cause, Severity
from relumine.schemas.incident import Incident, IncidentState
from relumine_server.alerts import incident_queries
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import DatabaseDep, SettingsDep, VisibleProject
from relumine_server.api.schemas.common import RUN_ID, Cursor, Limit, UtcTime
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import InvalidCursor

router = APIRouter(prefix="/v1/incidents", tags=["alerts"], route_class=StrictQueryRoute)


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_incidents(
    database: DatabaseDep,
    settings: SettingsDep,
    project: VisibleProject,
    run_id: Annotated[str | None, Query(pattern=RUN_ID)] = None,
    state: IncidentState | None = None,
    severity: Severity | None = None,
    cause: Cause | None = None,
    since: UtcTime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> base.Page[Incident]:
    """List incidents with their alerts, newest first; ``since`` keeps those that changed at or after a time."""
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
