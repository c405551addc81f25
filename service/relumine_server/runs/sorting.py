"""The orders of a list of runs, and pages of them.

A page begins after the position of the last run before it, so that runs that are added or deleted meanwhile neither
repeat nor hide others. Runs that are equal are listed newest first, runs without a value last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from relumine.schemas.health import HealthStatus
from relumine.schemas.run import RunSort, RunStatus
from relumine_server.db import keyset, tables
from relumine_server.runs.rows import ListedRun

NEWEST_FIRST: RunSort = "-created_at"
SECONDS_PER_DAY = 86_400.0

_r = tables.runs.c
_a = tables.alerts.c
WORST_FIRST: tuple[HealthStatus, ...] = (
    "diverged", "collapsed", "damaged", "unwatched", "at_risk", "unknown", "healthy",
)  # fmt: skip
STATUS_ORDER: tuple[RunStatus, ...] = ("failed", "stalled", "running", "finished")
_RANKS: dict[str, dict[str, int]] = {
    "health": {health: rank for rank, health in enumerate(WORST_FIRST)},
    "status": {status: rank for rank, status in enumerate(STATUS_ORDER)},
}
_VALUES: dict[str, sa.ColumnElement[Any]] = {
    "updated_at": _r.updated_at,
    "name": sa.func.lower(_r.name),
    "project": sa.func.lower(_r.project),
    "last_step": _r.last_step,
    "final_loss": _r.final_loss,
    "layers_dead": _r.layers_dead,
    "steps_per_s": _r.steps_per_s,
    "lost_fraction": _r.lost_fraction,
    **{name: sa.case(ranks, value=_r[name], else_=len(ranks)) for name, ranks in _RANKS.items()},
}
_TEXTS = ("name", "project")
_COMPUTED = ("open_alerts", "duration_s")
"""Values that no column of a run has."""


def field_of(sort: str) -> str:
    """Return the field that an order is by."""
    return sort.removeprefix("-")


def position(run: ListedRun, sort: str) -> tuple[Any, ...]:
    """Return the position of a run in an order: its value, if the order is by one, its time of creation and its id."""
    field = field_of(sort)
    if field == "created_at":
        return run.created_at, run.run_id
    value: Any = run.sort_value if field in _COMPUTED else getattr(run, field)
    if field in _RANKS:
        value = _RANKS[field].get(value, len(_RANKS[field]))
    return value, run.created_at, run.run_id


def page(
    query: sa.Select[Any], sort: str, last: Sequence[Any] | None, limit: int, connection: sa.Connection
) -> sa.Select[Any]:
    """Order runs and keep ``limit`` of them, and one more.

    ``last`` is the position of the last run of the page before; None for the first page.
    """
    field = field_of(sort)
    is_descending = sort.startswith("-")
    newest = (_r.created_at, _r.run_id)
    if field == "created_at":
        return keyset.page(query, newest, last, limit, descending=is_descending)
    value = _value(field, connection)
    order = value.desc() if is_descending else value.asc()
    query = query.order_by(order.nulls_last(), _r.created_at.desc(), _r.run_id.desc()).limit(limit + 1)
    if last is None:
        return query
    return query.where(_follows(value, last, is_descending=is_descending))


def computed_value(sort: str, connection: sa.Connection) -> sa.ColumnElement[Any] | None:
    """Return the value that an order is by, where it is computed; None where it is a column of the run."""
    field = field_of(sort)
    if field == "open_alerts":
        of_run = sa.select(sa.func.count()).where(_a.run_id == _r.run_id, tables.alert_is_open)
        return of_run.correlate(tables.runs).scalar_subquery()
    return _duration_s(connection) if field == "duration_s" else None


def _duration_s(connection: sa.Connection) -> sa.ColumnElement[float]:
    """Return the seconds from the start of a run to its end, or to its last upload; null where they are negative."""
    start = sa.func.coalesce(_r.started_at, _r.created_at)
    finished_at = sa.case((_r.status != "running", _r.finished_at), else_=None)
    end = sa.func.coalesce(finished_at, _r.last_heartbeat_at, _r.updated_at)
    seconds: sa.ColumnElement[float]
    if connection.dialect.name == "postgresql":
        seconds = sa.cast(sa.extract("epoch", end - start), sa.Float)
    else:
        seconds = (sa.func.julianday(end, type_=sa.Float) - sa.func.julianday(start, type_=sa.Float)) * SECONDS_PER_DAY
    return sa.case((seconds >= 0, seconds), else_=None)


def _value(field: str, connection: sa.Connection) -> sa.ColumnElement[Any]:
    computed = computed_value(field, connection)
    if computed is not None:
        return computed
    value = _VALUES[field]
    if field in _TEXTS and connection.dialect.name == "postgresql":
        return sa.collate(value, "C")  # by bytes, as SQLite orders
    return value


def _follows(value: sa.ColumnElement[Any], last: Sequence[Any], *, is_descending: bool) -> sa.ColumnElement[bool]:
    """Return the condition of the runs behind a position."""
    last_value, created_at, run_id = last
    newest = sa.tuple_(_r.created_at, _r.run_id)
    older = newest < sa.tuple_(sa.literal(created_at, _r.created_at.type), sa.literal(run_id, _r.run_id.type))
    if last_value is None:
        return sa.and_(value.is_(None), older)
    literal = _literal(value, last_value)
    beyond = value < literal if is_descending else value > literal
    return sa.or_(beyond, sa.and_(value == literal, older), value.is_(None))


def _literal(value: sa.ColumnElement[Any], last_value: Any) -> sa.ColumnElement[Any]:
    """Return the value of the last run as it is compared: a name as the database lowers it."""
    literal = sa.literal(last_value, value.type)
    return sa.func.lower(literal) if isinstance(last_value, str) else literal
