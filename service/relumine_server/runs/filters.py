"""Filters of runs, and the numbers of runs that the counters of a list select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from relumine.schemas.base import rfc3339
from relumine.schemas.run import RunCounters
from relumine_server.db import tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.db.types import EPOCH

_r = tables.runs.c
_a = tables.alerts.c


@dataclass(frozen=True, slots=True)
class RunFilters:
    """Conditions that runs must meet, all of them; None is no condition.

    ``died_since``: one of its layers came to be dead or born dead at or after that time. ``needs_attention``: it has an
    open alert of warning or above that is neither acknowledged nor silenced. ``stalled_or_unwatched``: it reports
    nothing, or is not being watched.
    """

    project: str | None = None
    group: str | None = None
    status: Sequence[str] | None = None
    health: Sequence[str] | None = None
    tag: str | None = None
    q: str | None = None
    died_since: datetime | None = None
    needs_attention: bool | None = None
    stalled_or_unwatched: bool | None = None


def filtered(query: sa.Select[Any], filters: RunFilters, connection: sa.Connection) -> sa.Select[Any]:
    """Keep the visible runs that meet the filters."""
    return query.where(run_is_visible, *conditions(filters, connection))


def conditions(filters: RunFilters, connection: sa.Connection) -> list[sa.ColumnElement[bool]]:
    """Return the filters as conditions of a query on runs."""
    possible = {
        "project": _r.project == filters.project,
        "group": _r.group_name == filters.group,
        "status": _r.status.in_(filters.status or ()),
        "health": _r.health.in_(filters.health or ()),
        "tag": _has_tag(filters.tag or "", connection),
        "q": _has_text(filters.q or ""),
        "died_since": _r.run_id.in_(sa.select(_a.run_id).where(_a.died_at >= (filters.died_since or EPOCH))),
        "needs_attention": _r.run_id.in_(_with_open_questions()),
        "stalled_or_unwatched": sa.or_(_r.status == "stalled", _r.health == "unwatched"),
    }
    chosen = []
    for name, condition in possible.items():
        value = getattr(filters, name)
        if value is not None:
            chosen.append(~condition if value is False else condition)
    return chosen


def _has_text(text: str) -> sa.ColumnElement[bool]:
    return sa.or_(*(column.icontains(text, autoescape=True) for column in (_r.run_id, _r.name, _r.group_name)))


def count(connection: sa.Connection, filters: RunFilters, died_since: datetime) -> RunCounters:
    """Return how many runs meet the filters, and how many of them each counter selects: one statement."""
    counters = {
        "running": RunFilters(status=["running"]),
        "needs_attention": RunFilters(needs_attention=True),
        "died_last_7_days": RunFilters(died_since=died_since),
        "stalled_or_unwatched": RunFilters(stalled_or_unwatched=True),
    }
    columns: list[sa.ColumnElement[Any]] = [sa.func.count().label("total")]
    for name, counter in counters.items():
        (condition,) = conditions(counter, connection)
        columns.append(sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0).label(name))
    query = filtered(sa.select(*columns).select_from(tables.runs), filters, connection)
    row = connection.execute(query).mappings().one()
    return RunCounters(died_since=rfc3339(died_since), **{name: int(value) for name, value in row.items()})


def _with_open_questions() -> sa.Select[Any]:
    """Select the runs with an open alert of warning or above that no one has acknowledged or silenced."""
    is_open = sa.and_(tables.alert_is_open, _a.state != "acknowledged")
    return sa.select(_a.run_id).where(is_open, _a.severity != "info", _a.silenced_by.is_(None))


def _has_tag(tag: str, connection: sa.Connection) -> sa.ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return sa.type_coerce(_r.tags, postgresql.JSONB).contains([tag])
    text = sa.type_coerce(_r.tags, sa.Text)
    readable = sa.case((sa.func.json_valid(text) == 1, text), else_="[]")  # a damaged document would end the query
    tags = sa.func.json_each(readable).table_valued("value")
    return sa.exists(sa.select(1).select_from(tags).where(tags.c.value == tag))
