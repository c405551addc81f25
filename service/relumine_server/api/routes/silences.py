"""``/v1/silences``: for a time, matching alerts send no notifications. They are stored and shown as usual."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from types import SimpleNamespace
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Path

from relumine.schemas import alert, base
from relumine_server.alerts import silences
from relumine_server.alerts.evaluator import runs_with_changed_silences
from relumine_server.api import pagination, problem_details
from relumine_server.api.dependencies import ClockDep, DatabaseDep, KeyProject, ServicesDep
from relumine_server.api.schemas.common import Cursor, Limit, SilenceRequest
from relumine_server.api.services import Services
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import InvalidCursor, InvalidSilence, ProjectForbidden, SilenceNotFound

router = APIRouter(prefix="/v1/silences", tags=["silences"], route_class=StrictQueryRoute)

SilenceId = Annotated[str, Path(pattern=r"^sil_[0-9a-f]{32}$")]

MAX_DURATION = timedelta(days=3653)
RUNS_AT_ONCE = 50  # runs whose alerts are updated before the answer; the evaluator updates the others


@router.get("", responses=problem_details.responses(InvalidCursor))
def list_silences(
    database: DatabaseDep, clock: ClockDep, key_project: KeyProject, cursor: Cursor = None, limit: Limit = 50
) -> base.Page[alert.Silence]:
    """List silences, newest first. A silence is deleted 30 days after its end."""
    position = pagination.decode(cursor, datetime, str)
    with database.read() as connection:
        rows = silences.page(connection, key_project, position, limit)
        rows, next_cursor = pagination.cut(rows, limit, lambda row: (row.created_at, row.silence_id))
        items = silences.silence_view(connection, rows, clock())
    return base.Page(items=items, next_cursor=next_cursor)


@router.post("", status_code=201, responses=problem_details.responses(InvalidSilence, ProjectForbidden))
def create_silence(
    body: SilenceRequest, services: ServicesDep, database: DatabaseDep, clock: ClockDep, key_project: KeyProject
) -> alert.Silence:
    """Create a silence. Open alerts show it at once; if they belong to very many runs, within seconds."""
    now = clock()
    starts_at = now if body.starts_at is None else max(body.starts_at, now)
    matchers = body.matchers.model_dump(exclude_none=True)
    if not matchers:
        raise InvalidSilence('name at least one matcher; {"project": "*"} matches everything')
    if key_project is not None and "project" in matchers and not fnmatchcase(key_project, matchers["project"]):
        raise ProjectForbidden("a key that is bound to a project can only silence that project")
    if not starts_at < body.ends_at <= now + MAX_DURATION:
        raise InvalidSilence("it must end after now, after its start, and within ten years")
    row = SimpleNamespace(
        silence_id=f"sil_{uuid4().hex}",
        project=key_project,
        matchers=matchers,
        starts_at=starts_at,
        ends_at=body.ends_at.astimezone(UTC),
        author=body.author,
        comment=body.comment,
        created_at=now,
    )
    database.write(partial(silences.insert, values=vars(row)))
    _update_alerts(services)
    with database.read() as connection:
        return silences.silence_view(connection, [row], now)[0]


@router.delete("/{silence_id}", status_code=204, responses=problem_details.responses(SilenceNotFound))
def delete_silence(silence_id: SilenceId, services: ServicesDep, database: DatabaseDep) -> None:
    """Delete a silence: alerts that it silenced and that still fire are notified now."""
    if not database.write(partial(silences.delete, silence_id=silence_id)):
        raise SilenceNotFound
    _update_alerts(services)


def _update_alerts(services: Services) -> None:
    """Apply a change of silences to the alerts of the first runs now; the evaluator does so for the others."""
    with services.database.read() as connection:
        run_ids = runs_with_changed_silences(connection, services.clock())
    for run_id in run_ids[:RUNS_AT_ONCE]:
        services.database.write(partial(services.alerts.update_suppression, run_id=run_id, now=services.clock()))
    services.dispatcher.wake()
    services.evaluator.wake()
