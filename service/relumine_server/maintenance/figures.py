"""Figures of the database for administrators: its size, what it holds, what arrives, and what maintenance has left."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from relumine.schemas.server import ServerDatabase
from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.db.stats import read_stats
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.timeseries import compaction

RECENT = timedelta(hours=1)

_r = tables.runs.c
_u = tables.uploads.c


def database_figures(database: Database, connection: sa.Connection) -> ServerDatabase:
    """Return the kind, the revision and the bytes of a database."""
    revision = migrations.current(connection)
    if database.file is not None:
        size = sum(_size(Path(f"{database.file}{suffix}")) for suffix in ("", "-wal"))
        free = shutil.disk_usage(database.file.parent).free
        return ServerDatabase(kind="sqlite", schema_revision=revision, size_bytes=size, free_bytes=free)
    size = connection.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database()))) or 0
    return ServerDatabase(kind="postgresql", schema_revision=revision, size_bytes=size, free_bytes=None)


def counts(connection: sa.Connection, now: datetime) -> dict[str, int | float]:
    """Return what the database holds and what is left to do, by the names of the answer; at most six statements.

    Only the uploads of runs that changed within the hour are counted one by one.
    """
    visible = sa.func.coalesce(sa.func.sum(sa.case((run_is_visible, 1), else_=0)), 0)
    running = sa.func.coalesce(sa.func.sum(sa.case((sa.and_(run_is_visible, _r.status == "running"), 1), else_=0)), 0)
    steps = sa.func.coalesce(sa.func.sum(sa.case((run_is_visible, _r.sampled_steps), else_=0)), 0)
    to_compact = sa.func.coalesce(sa.func.sum(sa.case((compaction.is_due(), 1), else_=0)), 0)
    total = sa.func.count()
    runs = connection.execute(sa.select(visible, running, steps, to_compact, total)).one()
    is_recent = (
        _u.run_id.in_(sa.select(_r.run_id).where(_r.updated_at >= now - RECENT)),
        _u.received_at >= now - RECENT,
    )
    records = sa.func.coalesce(sa.func.sum(_u.record_count), 0)
    uploads = connection.execute(sa.select(sa.func.count(), records).where(*is_recent)).one()
    pending = sa.select(sa.func.count()).where(tables.deliveries.c.state == "pending")
    stats = read_stats(connection, now)
    return {
        "runs": int(runs[0]),
        "running": int(runs[1]),
        "sampled_steps": int(runs[2]),
        "runs_to_compact": int(runs[3]),
        "runs_to_delete": int(runs[4] - runs[0]),
        "uploads_last_hour": int(uploads[0]),
        "records_last_hour": int(uploads[1]),
        "deliveries_waiting": connection.scalar(pending) or 0,
        "deliveries_due": stats.due,
        "oldest_delivery_due_s": stats.oldest_s,
    }


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
