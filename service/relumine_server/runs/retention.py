"""Retention: what is deleted to keep a database in bounds. Per-unit statistics are thinned, old runs deleted whole.

Each step is a bounded batch; a crash between two of them loses nothing and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine_server.clock import Uptime
from relumine_server.db import tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.runs import repository as run_repository
from relumine_server.settings import Settings
from relumine_server.timeseries import replay

FIRST_ROWS = 10
LATEST_ROWS = 64
ROWS_AROUND_ALERT = 5
"""Rows of per-unit statistics that are thinned last: those of the baseline, those a reader looks at first, and so many
before and after the opening of each alert. Where these alone are too large, those of the baseline go last."""
MAX_ALERTS = 200
"""Alerts of a run around whose opening rows are kept."""

BATCH_ROWS = 256
BATCH_BYTES = 8 * 2**20
"""Rows and bytes that one transaction deletes at most: uploads wait for it."""

DELETION_PAUSE_S = 3600.0
"""For so long after a jump of the clock nothing is deleted for its age."""
LONG_PAUSE_S = 24 * 3600.0
"""For so long a clock that jumped is not believed where the newest heartbeat is older than ``STALE_AFTER``."""
STALE_AFTER = timedelta(days=1)

THINNING_LEVELS = 3  # every 10th row, every 100th, every 1,000th: a run is not thinned further


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of a project. The scalars of a record are stored as long as its run."""

    unit_stats_bytes_per_run: int = 128 * 2**20
    """Bytes of per-unit statistics of a run; beyond it they are thinned."""
    unit_stats_keep_every: int = 10
    """Of thinned rows, every so-many-th is kept."""
    run_retention_days: int | None = None
    """Runs that ended longer ago are deleted; None: never."""


class OverfullRun(NamedTuple):
    """A run with more per-unit statistics than its project keeps."""

    run_id: str
    retention: Retention


def default(settings: Settings) -> Retention:
    """Return the retention of projects that have not set their own."""
    return Retention(settings.unit_stats_bytes_per_run, settings.unit_stats_keep_every, settings.run_retention_days)


def load(connection: sa.Connection, project: str, default: Retention) -> Retention | None:
    """Return the retention of a project; None if there is no such project."""
    row = connection.execute(sa.select(tables.projects.c.retention).where(tables.projects.c.project == project)).first()
    return None if row is None else _from_document(row.retention, default)


def save(connection: sa.Connection, project: str, retention: Retention) -> None:
    """Set the retention of a project."""
    statement = sa.update(tables.projects).where(tables.projects.c.project == project)
    connection.execute(statement.values(retention=asdict(retention)))


def _from_document(document: Mapping[str, Any] | None, default: Retention) -> Retention:
    """Return a stored retention; the default for what is not set, or damaged."""
    values = {name: value for name, value in (document or {}).items() if value is None or type(value) is int}
    return Retention(**{f.name: values.get(f.name, getattr(default, f.name)) for f in fields(Retention)})


def _by_project(connection: sa.Connection, default: Retention) -> dict[str, Retention]:
    rows = connection.execute(sa.select(tables.projects.c.project, tables.projects.c.retention))
    return {row.project: _from_document(row.retention, default) for row in rows}


def overfull(connection: sa.Connection, default: Retention) -> list[OverfullRun]:
    """Return the runs whose per-unit statistics take more bytes than their project keeps."""
    c = tables.runs.c
    runs = []
    for project, retention in _by_project(connection, default).items():
        is_overfull = c.unit_stat_bytes > retention.unit_stats_bytes_per_run
        run_ids = connection.scalars(sa.select(c.run_id).where(c.project == project, is_overfull))
        runs += [OverfullRun(run_id, retention) for run_id in run_ids]
    return runs


def may_delete_by_age(connection: sa.Connection, uptime: Uptime | None, now: datetime) -> bool:
    """Return True unless the clock may be wrong: deleting cannot be undone, and waiting costs nothing.

    It may be wrong for an hour after it jumped. Where the newest heartbeat of all runs is more than a day old, it may
    be wrong for an hour after this process began, and for a day after it jumped. Without ``uptime`` it is right.
    """
    if uptime is None:
        return True
    since_jump_s = uptime.seconds_since_jump()
    has_jumped = since_jump_s is not None and since_jump_s < LONG_PAUSE_S
    if not has_jumped and uptime.seconds_up() >= DELETION_PAUSE_S:
        return True
    if since_jump_s is not None and since_jump_s < DELETION_PAUSE_S:
        return False
    newest = connection.scalar(sa.select(sa.func.max(tables.runs.c.last_heartbeat_at)))
    return newest is None or now - newest <= STALE_AFTER


def expired(connection: sa.Connection, default: Retention, now: datetime) -> list[str]:
    """Return the runs that ended longer ago than their project keeps them."""
    return _older_than_retention(connection, default, now, ("finished", "failed"), tables.runs.c.updated_at)


def abandoned(connection: sa.Connection, default: Retention, now: datetime) -> list[str]:
    """Return the stalled runs whose last heartbeat is longer ago than their project keeps runs that ended."""
    return _older_than_retention(connection, default, now, ("stalled",), tables.runs.c.last_heartbeat_at)


def _older_than_retention(
    connection: sa.Connection, default: Retention, now: datetime, statuses: Sequence[str], time: sa.Column[Any]
) -> list[str]:
    c = tables.runs.c
    run_ids: list[str] = []
    for project, retention in _by_project(connection, default).items():
        if retention.run_retention_days is not None:
            oldest_kept = now - timedelta(days=retention.run_retention_days)
            is_old = sa.and_(c.status.in_(statuses), time < oldest_kept, run_is_visible)
            query = sa.select(c.run_id).where(c.project == project, is_old)
            run_ids += connection.scalars(query)
    return run_ids


def thin(connection: sa.Connection, run: OverfullRun) -> int:
    """Delete a batch of a run's per-unit statistics; returns the number of rows.

    0: the run is within its retention, or only rows are left that its saved detector state does not include yet.
    """
    c = tables.runs.c
    query = sa.select(c.unit_stat_bytes, c.unit_stat_rows).where(c.run_id == run.run_id).with_for_update()
    row = connection.execute(query).first()
    if row is None or row.unit_stat_bytes <= run.retention.unit_stats_bytes_per_run:
        return 0
    for level in range(1, THINNING_LEVELS + 1):
        keep_every = run.retention.unit_stats_keep_every**level
        batch = _rows_to_thin(connection, run.run_id, keep_every, row.unit_stat_rows)
        if batch:
            break
    else:
        batch = _spare_rows(connection, run.run_id, row.unit_stat_bytes - run.retention.unit_stats_bytes_per_run)
    if batch:
        _delete_rows(connection, run.run_id, batch)
        left = row.unit_stat_bytes - sum(thinned.size_bytes for thinned in batch)
        connection.execute(sa.update(tables.runs).where(c.run_id == run.run_id).values(unit_stat_bytes=left))
    return len(batch)


def _spare_rows(connection: sa.Connection, run_id: str, excess_bytes: int) -> list[Any]:
    """Return rows of a run that is thinned as far as possible: as many as it has too many, or a batch.

    Other rows go before those of the baseline, without which a rebuilt detector finds other problems; the latest row
    goes last of all.
    """
    c = tables.unit_stats.c
    newest = sa.select(sa.func.max(c.ordinal)).where(c.run_id == run_id).scalar_subquery()
    worth = sa.case((c.ordinal == newest, 2), (c.ordinal < FIRST_ROWS, 1), else_=0)
    rows = connection.execute(_saved_rows(connection, run_id).order_by(None).order_by(worth, c.step).limit(BATCH_ROWS))
    batch: list[Any] = []
    total_bytes = 0
    for row in rows:
        if total_bytes >= min(excess_bytes, BATCH_BYTES):
            break
        batch.append(row)
        total_bytes += row.size_bytes
    return batch


def _saved_rows(connection: sa.Connection, run_id: str) -> sa.Select[Any]:
    """Select the rows that the saved detector states include, oldest first. They may process the later ones again."""
    c = tables.unit_stats.c
    saved = replay.saved_seqs(connection, run_id)
    is_in_state = [sa.and_(c.session == session, c.seq <= seq) for session, seq in saved.items()]
    is_saved = sa.or_(c.rank > 0, c.session.not_in(list(saved)), *is_in_state)
    columns = (c.step, c.session, c.rank, c.seq, c.size_bytes)
    return sa.select(*columns).where(c.run_id == run_id, is_saved).order_by(c.step)


def _rows_to_thin(connection: sa.Connection, run_id: str, keep_every: int, row_count: int) -> list[Any]:
    """Return the oldest rows of per-unit statistics that are not kept, at most a batch."""
    c = tables.unit_stats.c
    is_between = sa.and_(c.ordinal >= FIRST_ROWS, c.ordinal < row_count - LATEST_ROWS)
    query = _saved_rows(connection, run_id).where(c.ordinal % keep_every != 0, is_between).limit(BATCH_ROWS)
    around_alerts = _steps_around_alerts(connection, run_id)
    if around_alerts:
        query = query.where(c.step.not_in(around_alerts))
    rows = list(connection.execute(query))
    total_bytes = accumulate(row.size_bytes for row in rows)
    return [row for row, total in zip(rows, total_bytes, strict=True) if total - row.size_bytes < BATCH_BYTES]


def _steps_around_alerts(connection: sa.Connection, run_id: str) -> set[int]:
    """Return the steps of the rows next to the steps at which alerts were opened."""
    a = tables.alerts.c
    c = tables.unit_stats.c
    of_run = sa.select(c.step).where(c.run_id == run_id)
    steps: set[int] = set()
    opened = sa.select(a.opened_step).where(a.run_id == run_id).order_by(a.opened_step).limit(MAX_ALERTS)
    for opened_step in set(connection.scalars(opened)):
        earlier = of_run.where(c.step <= opened_step).order_by(c.step.desc()).limit(ROWS_AROUND_ALERT)
        later = of_run.where(c.step > opened_step).order_by(c.step).limit(ROWS_AROUND_ALERT)
        steps.update(connection.scalars(earlier))
        steps.update(connection.scalars(later))
    return steps


def _delete_rows(connection: sa.Connection, run_id: str, rows: Sequence[Any]) -> None:
    c = tables.unit_stats.c
    statement = sa.delete(tables.unit_stats).where(
        c.run_id == run_id,
        c.step == sa.bindparam("row_step"),
        c.session == sa.bindparam("row_session"),
        c.rank == sa.bindparam("row_rank"),
        c.seq == sa.bindparam("row_seq"),
    )
    keys = [
        {"row_step": row.step, "row_session": row.session, "row_rank": row.rank, "row_seq": row.seq} for row in rows
    ]
    connection.execute(statement, keys)


def mark_expired(connection: sa.Connection, run_id: str, default: Retention, now: datetime) -> bool:
    """Begin to delete a run, unless it was resumed since it was found expired; True where its deletion has begun."""
    _lock(connection, run_id)
    return run_id in expired(connection, default, now) and run_repository.mark_deleted(connection, run_id, now)


def delete_batch(connection: sa.Connection, run_id: str) -> bool:
    """Delete a batch of a run, the large tables first and the run's row last; returns True while rows are left.

    The run is locked: an upload in flight is deleted with it or creates it again.
    """
    _lock(connection, run_id)
    for table, batch_rows in run_repository.CHILDREN.items():
        key = list(table.primary_key.columns)[1:]
        rows = sa.select(*key).where(table.c.run_id == run_id).order_by(*key)
        first_left = connection.execute(rows.offset(batch_rows).limit(1)).first() if key else None
        if first_left is not None:
            values = [sa.literal(value, column.type) for value, column in zip(first_left, key, strict=True)]
            is_in_batch = sa.tuple_(*key) < sa.tuple_(*values)
            connection.execute(sa.delete(table).where(table.c.run_id == run_id, is_in_batch))
            return True
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))
    run_repository.delete_row(connection, run_id)
    return False


def _lock(connection: sa.Connection, run_id: str) -> None:
    connection.execute(sa.select(tables.runs.c.run_id).where(tables.runs.c.run_id == run_id).with_for_update())
