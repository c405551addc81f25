"""What is given up to keep a database in bounds: per-unit columns first, whole, and old runs where a project says so.

Each step is a bounded piece of work; a crash between two of them loses nothing and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from relumine_server.settings import Settings
from relumine_server.storage import runs, states
from relumine_server.storage import tables as t

FIRST, LATEST, AROUND = 10, 64, 5
"""Rows kept whatever happens: of the baseline, those a reader looks at first, and on each side of an alert."""

PIECE, PIECE_BYTES = 256, 8 * 2**20
"""Rows and bytes that one transaction deletes at most: uploads wait for it."""

SIEVES = 3  # every 10th row, every 100th, every 1,000th: then it is what it is
ALERTS = 200  # whose surroundings are kept


@dataclass(frozen=True, slots=True)
class Retention:
    """What a project keeps. Scalars of every record are kept as long as the run is."""

    unit_bytes: int = 128 * 2**20
    """Per-unit columns of a run may take so much; beyond it they are thinned."""
    unit_rows_every: int = 10
    """Of the thinned ones every so-many-th row is kept."""
    expire_days: int | None = None
    """Runs that ended longer ago are deleted; without it never."""


class Run(NamedTuple):
    """A run that something may be taken from, and what its project keeps."""

    run_id: str
    retention: Retention


def default(settings: Settings) -> Retention:
    """What projects keep that have not said otherwise."""
    return Retention(settings.unit_bytes_per_run, settings.unit_rows_every, settings.expire_days)


def load(connection: sa.Connection, project: str, default: Retention) -> Retention | None:
    """What a project keeps; None where there is no such project."""
    row = connection.execute(sa.select(t.projects.c.retention).where(t.projects.c.project == project)).first()
    return None if row is None else _read(row.retention, default)


def save(connection: sa.Connection, project: str, retention: Retention) -> None:
    """Set what a project keeps."""
    statement = sa.update(t.projects).where(t.projects.c.project == project)
    connection.execute(statement.values(retention=asdict(retention)))


def _read(stored: Mapping[str, Any] | None, default: Retention) -> Retention:
    names = [field.name for field in fields(Retention)]
    return Retention(**{name: (stored or {}).get(name, getattr(default, name)) for name in names})


def _by_project(connection: sa.Connection, default: Retention) -> dict[str, Retention]:
    rows = connection.execute(sa.select(t.projects.c.project, t.projects.c.retention))
    return {row.project: _read(row.retention, default) for row in rows}


def overfull(connection: sa.Connection, default: Retention) -> list[Run]:
    """Runs whose unit columns take more than their project keeps."""
    found = []
    for project, kept in _by_project(connection, default).items():
        c = t.runs.c
        query = sa.select(c.run_id).where(c.project == project, c.unit_bytes > kept.unit_bytes)
        found += [Run(run_id, kept) for run_id in connection.scalars(query)]
    return found


def expired(connection: sa.Connection, default: Retention, now: datetime) -> list[str]:
    """Runs that ended longer ago than their project keeps them."""
    found: list[str] = []
    for project, kept in _by_project(connection, default).items():
        if kept.expire_days is not None:
            c = t.runs.c
            ended = sa.and_(c.state.in_(["finished", "failed"]), c.updated_at < now - timedelta(days=kept.expire_days))
            found += connection.scalars(sa.select(c.run_id).where(c.project == project, ended))
    return found


def abandoned(connection: sa.Connection, default: Retention, now: datetime) -> list[str]:
    """Runs that stalled, and were last heard longer ago than their project keeps those that ended."""
    found: list[str] = []
    for project, kept in _by_project(connection, default).items():
        if kept.expire_days is not None:
            c = t.runs.c
            silent = sa.and_(c.state == "stalled", c.folded_at < now - timedelta(days=kept.expire_days))
            found += connection.scalars(sa.select(c.run_id).where(c.project == project, silent))
    return found


def thin(connection: sa.Connection, run: Run) -> int:
    """Delete a piece of a run's unit rows; the number of rows, 0 where it is thin enough or cannot be thinner."""
    c = t.runs.c
    query = sa.select(c.unit_bytes, c.unit_rows).where(c.run_id == run.run_id).with_for_update()
    row = connection.execute(query).first()
    if row is None or row.unit_bytes <= run.retention.unit_bytes:
        return 0
    for power in range(1, SIEVES + 1):
        chosen = _beyond_sieve(connection, run, run.retention.unit_rows_every**power, row.unit_rows)
        if chosen:
            _delete(connection, run.run_id, chosen)
            left = row.unit_bytes - sum(one.size for one in chosen)
            connection.execute(sa.update(t.runs).where(c.run_id == run.run_id).values(unit_bytes=left))
            return len(chosen)
    return 0


def _beyond_sieve(connection: sa.Connection, run: Run, every: int, rows: int) -> list[Any]:
    """Rows that a sieve would take out, the oldest first."""
    c = t.unit_rows.c
    session, seq = states.saved_version(connection, run.run_id)
    saved = sa.or_(c.session < session, sa.and_(c.session == session, c.seq <= seq), c.rank > 0)
    query = (
        sa.select(c.step, c.session, c.rank, c.seq, c.size)
        .where(c.run_id == run.run_id, c.ordinal % every != 0, c.ordinal >= FIRST, c.ordinal < rows - LATEST, saved)
        .order_by(c.step)
        .limit(PIECE)
    )
    kept = _around_alerts(connection, run.run_id)
    if kept:
        query = query.where(c.step.not_in(kept))
    found = list(connection.execute(query))
    ends = accumulate(row.size for row in found)
    return [row for row, end in zip(found, ends, strict=True) if end - row.size < PIECE_BYTES]


def _around_alerts(connection: sa.Connection, run_id: str) -> set[int]:
    """Steps of the rows next to where alerts were opened."""
    c, a = t.unit_rows.c, t.alerts.c
    steps: set[int] = set()
    opened = sa.select(a.opened_step).where(a.run_id == run_id).order_by(a.opened_step).limit(ALERTS)
    for step in set(connection.scalars(opened)):
        before = sa.select(c.step).where(c.run_id == run_id, c.step <= step).order_by(c.step.desc()).limit(AROUND)
        after = sa.select(c.step).where(c.run_id == run_id, c.step > step).order_by(c.step).limit(AROUND)
        steps.update(connection.scalars(before), connection.scalars(after))
    return steps


def _delete(connection: sa.Connection, run_id: str, rows: list[Any]) -> None:
    c = t.unit_rows.c
    one = sa.delete(t.unit_rows).where(
        c.run_id == run_id,
        c.step == sa.bindparam("at"),
        c.session == sa.bindparam("of"),
        c.rank == sa.bindparam("by"),
        c.seq == sa.bindparam("number"),
    )
    connection.execute(one, [{"at": r.step, "of": r.session, "by": r.rank, "number": r.seq} for r in rows])


def delete_expired(connection: sa.Connection, run_id: str, default: Retention, now: datetime) -> bool:
    """``delete_some`` of a run, unless it was taken up again since it was found to be expired."""
    connection.execute(sa.select(t.runs.c.run_id).where(t.runs.c.run_id == run_id).with_for_update())
    return run_id in expired(connection, default, now) and delete_some(connection, run_id)


def delete_some(connection: sa.Connection, run_id: str) -> bool:
    """Delete a piece of a run, the large tables first and the run's own row last; whether anything is left.

    Holds the run, so that an upload under way is deleted with it or begins it anew.
    """
    connection.execute(sa.select(t.runs.c.run_id).where(t.runs.c.run_id == run_id).with_for_update())
    for table, most in runs.CHILDREN.items():
        rest = list(table.primary_key.columns)[1:]
        keys = sa.select(*rest).where(table.c.run_id == run_id).order_by(*rest)
        edge = connection.execute(keys.offset(most).limit(1)).first() if rest else None
        if edge is not None:
            end = sa.tuple_(*(sa.literal(value, key.type) for value, key in zip(edge, rest, strict=True)))
            connection.execute(sa.delete(table).where(table.c.run_id == run_id, sa.tuple_(*rest) < end))
            return True
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))
    runs.delete(connection, run_id)
    return False
