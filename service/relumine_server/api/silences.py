"""Silences: for a time nothing is told of the alerts that match. They are stored and shown all the same."""

from __future__ import annotations

from datetime import UTC, timedelta
from fnmatch import fnmatchcase
from functools import partial
from types import SimpleNamespace
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Path

from relumine import views
from relumine_server import alerting
from relumine_server.api import cursors, problems
from relumine_server.api.depends import Clock, ClockDep, CourierDep, OwnProject, StoreDep, SweepDep, Wakeable
from relumine_server.api.schemas import Cursor, Limit, SilenceRequest
from relumine_server.errors import BadCursor, InvalidSilence, OtherProject, SilenceNotFound
from relumine_server.storage import due, silences
from relumine_server.storage.store import Store

router = APIRouter(prefix="/v1/silences", tags=["silences"])

SilenceId = Annotated[str, Path(pattern=r"^sil_[0-9a-f]{32}$")]

LONGEST = timedelta(days=3653)
AT_ONCE = 50  # runs that are brought in line before the answer; the sweep does the others


@router.get("", responses=problems.responses(BadCursor))
def list_silences(
    store: StoreDep, clock: ClockDep, own: OwnProject, cursor: Cursor = None, limit: Limit = 50
) -> views.Page[views.Silence]:
    """Silences, newest first; those that ended are forgotten after 30 days."""
    after = cursors.decode(cursor, 2)
    with store.read() as connection:
        rows = silences.page(connection, own, after, limit + 1)
        shown = silences.view(connection, rows[:limit], clock())
    last = rows[limit - 1] if len(rows) > limit else None
    following = cursors.encode([last.created_at, last.silence_id]) if last else None
    return views.Page(items=shown, next_cursor=following)


@router.post("", status_code=201, responses=problems.responses(InvalidSilence, OtherProject))
def create_silence(
    asked: SilenceRequest, store: StoreDep, clock: ClockDep, own: OwnProject, sweep: SweepDep, courier: CourierDep
) -> views.Silence:
    """Set a silence. Alerts that are open show it at once, those of very many runs within seconds."""
    now = clock()
    begins = now if asked.starts_at is None else max(asked.starts_at, now)
    matchers = asked.matchers.model_dump(exclude_none=True)
    if not matchers:
        raise InvalidSilence('name at least one matcher; {"project": "*"} matches everything')
    if own is not None and "project" in matchers and not fnmatchcase(own, matchers["project"]):
        raise OtherProject("a key of one project silences that project only")
    if not begins < asked.ends_at <= now + LONGEST:
        raise InvalidSilence("it must end after now, after it begins, and within ten years")
    row = SimpleNamespace(
        silence_id=f"sil_{uuid4().hex}",
        project=own,
        matchers=matchers,
        starts_at=begins,
        ends_at=asked.ends_at.astimezone(UTC),
        author=asked.author,
        comment=asked.comment,
        created_at=now,
    )
    store.write(partial(silences.insert, values=vars(row)))
    _bring_in_line(store, clock, sweep, courier)
    with store.read() as connection:
        return silences.view(connection, [row], now)[0]


@router.delete("/{silence_id}", status_code=204, responses=problems.responses(SilenceNotFound))
def delete_silence(
    silence_id: SilenceId, store: StoreDep, clock: ClockDep, sweep: SweepDep, courier: CourierDep
) -> None:
    """End a silence: what it held and is still open is told now."""
    if not store.write(partial(silences.delete, silence_id=silence_id)):
        raise SilenceNotFound
    _bring_in_line(store, clock, sweep, courier)


def _bring_in_line(store: Store, clock: Clock, sweep: Wakeable, courier: Wakeable) -> None:
    """Alerts of the first runs see the change before the answer, those of others within the next round."""
    with store.read() as connection:
        changed = due.silenced_otherwise(connection, clock())
    for run_id in changed[:AT_ONCE]:
        store.write(partial(alerting.refresh, run_id=run_id, now=clock()))
    courier.wake()
    sweep.wake()
