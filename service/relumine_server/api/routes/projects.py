"""Routes of projects: their list, and the retention of each."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field

from relumine.schemas import base
from relumine.schemas import run as schema_run
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import DatabaseDep, KeyProject, SettingsDep
from relumine_server.api.schemas.common import Cursor, Limit, ProjectName, RequestBody
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import InvalidCursor, ProjectNotFound
from relumine_server.runs import retention, views
from relumine_server.runs.retention import Retention
from relumine_server.settings import Settings

router = APIRouter(prefix="/v1/projects", tags=["projects"], route_class=StrictQueryRoute)


class RetentionSettings(RequestBody):
    """The retention of a project. The scalars of a record are stored as long as its run."""

    unit_stats_bytes_per_run: Annotated[int, Field(ge=2**16, le=2**50)]
    unit_stats_keep_every: Annotated[int, Field(ge=2, le=10_000)]
    run_retention_days: Annotated[int | None, Field(ge=1, le=36_500)]


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_projects(
    database: DatabaseDep, key_project: KeyProject, cursor: Cursor = None, limit: Limit = 50
) -> base.Page[schema_run.Project]:
    """List projects by name."""
    position = pagination.decode(cursor, str)
    with database.read() as connection:
        projects = views.project_views(connection, position, limit, only=key_project)
    items, next_cursor = pagination.cut(projects, limit, lambda project: (project.project,))
    return base.Page(items=items, next_cursor=next_cursor)


@router.get("/{project:path}/retention", responses=problem_details.responses(ProjectNotFound))
def read_retention(project: ProjectName, database: DatabaseDep, settings: SettingsDep) -> RetentionSettings:
    """Read the retention of a project."""
    with database.read() as connection:
        return RetentionSettings(**asdict(_load(connection, project, settings)))


@router.put("/{project:path}/retention", responses=problem_details.responses(ProjectNotFound))
def set_retention(
    project: ProjectName, change: RetentionSettings, database: DatabaseDep, settings: SettingsDep
) -> RetentionSettings:
    """Set the retention of a project; it is applied within a minute."""

    def write(connection: sa.Connection) -> RetentionSettings:
        _load(connection, project, settings)
        retention.save(connection, project, Retention(**change.model_dump()))
        return change

    return database.write(write)


def _load(connection: sa.Connection, project: str, settings: Settings) -> Retention:
    """Return the retention of a project. Raises ProjectNotFound."""
    stored = retention.load(connection, project, retention.default(settings))
    if stored is None:
        raise ProjectNotFound
    return stored
