"""Routes of several runs: their list, the counters above it, and a trace of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from relumine.schemas import base, chart
from relumine.schemas import run as schema_run
from relumine_server.api import problem_details, run_cursors
from relumine_server.api.dependencies import ClockDep, DatabaseDep, KeyProject, SettingsDep, VisibleProject
from relumine_server.api.schemas.common import Cursor, Flag, Healths, Limit, NameQuery, RunIds, RunStatuses, UtcTime
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import InvalidCursor
from relumine_server.runs import filters, listing, sorting, views
from relumine_server.runs.filters import RunFilters

router = APIRouter(prefix="/v1", tags=["runs"], route_class=StrictQueryRoute)

COUNTED_DEATHS = timedelta(days=7)


async def _subject_filters(
    project: VisibleProject, group: NameQuery = None, tag: NameQuery = None, q: NameQuery = None
) -> RunFilters:
    return RunFilters(project=project, group=group, tag=tag, q=q)


SubjectFilters = Annotated[RunFilters, Depends(_subject_filters)]
"""The filters by what a run is, not by how it does."""


@router.get("/runs", responses=problem_details.responses(InvalidCursor))
def list_runs(
    database: DatabaseDep,
    settings: SettingsDep,
    subject: SubjectFilters,
    status: RunStatuses = None,
    health: Healths = None,
    died_since: UtcTime | None = None,
    needs_attention: Flag = None,
    stalled_or_unwatched: Flag = None,
    sort: schema_run.RunSort = sorting.NEWEST_FIRST,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> base.Page[schema_run.Run]:
    """List runs, newest first unless ``sort`` says otherwise. ``q`` finds a part of the id, the name or the group."""
    position = run_cursors.decode(cursor, sort)
    chosen = replace(
        subject,
        status=None if status is None else status.split(","),
        health=None if health is None else health.split(","),
        died_since=died_since,
        needs_attention=needs_attention,
        stalled_or_unwatched=stalled_or_unwatched,
    )
    with database.read() as connection:
        limit = min(limit, listing.page_length(connection, chosen, position, limit, sort))
        runs = listing.select_page(connection, chosen, position, limit, sort)
        runs, next_cursor = run_cursors.cut(runs, limit, sort)
        items = views.run_views(connection, runs, settings.base_url)
    return base.Page(items=items, next_cursor=next_cursor)


@router.get("/run-traces", responses=problem_details.responses())
def list_run_traces(
    database: DatabaseDep, key_project: KeyProject, run_ids: RunIds = None
) -> base.Page[chart.LostTrace]:
    """List the lost share of the worst layer, and the loss, of several runs over steps, in a few points each."""
    with database.read() as connection:
        items = views.lost_traces(connection, run_ids.split(",") if run_ids else [], key_project)
    return base.Page(items=items, next_cursor=None)


@router.get("/run-counts", responses=problem_details.responses())
def count_runs(database: DatabaseDep, clock: ClockDep, subject: SubjectFilters) -> schema_run.RunCounters:
    """Count the runs that the filters of ``GET /v1/runs`` list, each by itself."""
    with database.read() as connection:
        return filters.count(connection, subject, died_since=clock() - COUNTED_DEATHS)
