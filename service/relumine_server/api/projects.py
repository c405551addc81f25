"""Projects: which there are, and what each keeps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path
from pydantic import Field

from relumine import views
from relumine_server.api import cursors, problems
from relumine_server.api.depends import OwnProject, SettingsDep, StoreDep
from relumine_server.api.schemas import Cursor, Limit, Sent
from relumine_server.errors import BadCursor, ProjectNotFound
from relumine_server.storage import retention, runs
from relumine_server.storage.retention import Retention

router = APIRouter(prefix="/v1/projects", tags=["projects"])

ProjectName = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Kept(Sent):
    """What a project keeps. Scalars of every record are kept as long as the run is."""

    unit_bytes: Annotated[int, Field(ge=2**16, le=2**50)]
    unit_rows_every: Annotated[int, Field(ge=2, le=10_000)]
    expire_days: Annotated[int | None, Field(ge=1, le=36_500)]


@router.get("", responses=problems.responses(BadCursor))
def list_projects(
    store: StoreDep, own: OwnProject, cursor: Cursor = None, limit: Limit = 50
) -> views.Page[views.Project]:
    """Projects by name."""
    after = cursors.decode_name(cursor)
    with store.read() as connection:
        found = runs.projects(connection, after, limit + 1, only=own)
    more = found[limit - 1].project if len(found) > limit else None
    return views.Page(items=found[:limit], next_cursor=None if more is None else cursors.encode_name(more))


@router.get("/{project}/retention", responses=problems.responses(ProjectNotFound))
def read_retention(project: ProjectName, store: StoreDep, settings: SettingsDep) -> Kept:
    """What a project keeps."""
    with store.read() as connection:
        return _kept(connection, project, retention.default(settings))


@router.put("/{project}/retention", responses=problems.responses(ProjectNotFound))
def set_retention(project: ProjectName, kept: Kept, store: StoreDep, settings: SettingsDep) -> Kept:
    """Set what a project keeps; it is brought about within a minute."""

    def work(connection: sa.Connection) -> Kept:
        _kept(connection, project, retention.default(settings))
        retention.save(connection, project, Retention(**kept.model_dump()))
        return kept

    return store.write(work)


def _kept(connection: sa.Connection, project: str, default: Retention) -> Kept:
    found = retention.load(connection, project, default)
    if found is None:
        raise ProjectNotFound
    return Kept(**asdict(found))
