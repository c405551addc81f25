"""Spreads the rows of runs over the hosts of a Citus cluster, by ``run_id``. Plain Postgres needs none of it.

What belongs to a run lies with the run on one host. Tables whose keys name no run stay on the coordinator: deliveries
are claimed across all runs, and keys are written too often to be copied to every host. Citus is told of them: only then
does it commit in two phases what writes to a run and to them, as an upload that raises an alert does.
"""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.errors import NotDistributable
from relumine_server.storage.columns import metadata
from relumine_server.storage.migrate import MIGRATING
from relumine_server.storage.tables import runs

_EXTENSION = sa.text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
_GROUP = sa.text("SELECT groupid FROM pg_dist_local_group")
_DONE = sa.text(
    "SELECT relname FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid"
    " WHERE relnamespace = current_schema()::regnamespace"
)
_SPREAD = sa.text("SELECT create_distributed_table(:name, 'run_id', colocate_with => :beside)")
_EMPTY = sa.text("SELECT truncate_local_data_after_distributing_table(CAST(:name AS regclass))")
_TELL = sa.text("SELECT citus_add_local_table_to_metadata(CAST(:name AS regclass))")

COORDINATOR = 0  # Citus's number for the group of the coordinator


def of_runs() -> list[str]:
    """The tables that are spread: those whose keys begin with a run; the runs themselves first."""
    keyed = [one.name for one in metadata.sorted_tables if next(iter(one.primary_key.columns)).name == "run_id"]
    return sorted(keyed, key=lambda name: name != runs.name)


def require(engine: sa.Engine) -> None:
    """Raise NotDistributable where this Postgres is not the coordinator of a Citus cluster."""
    with engine.connect() as connection:
        if connection.scalar(_EXTENSION) is None:
            raise NotDistributable("the database has no Citus: run CREATE EXTENSION citus in it first")
        if connection.scalar(_GROUP) != COORDINATOR:
            raise NotDistributable("this host is a worker of its Citus cluster: --distribute needs the coordinator")


def distribute(engine: sa.Engine) -> list[str]:
    """Spread every table of runs that is not spread yet, with its rows, all or none; the names of those it spread.

    Whoever reads or writes these tables waits meanwhile.
    """
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # rows are copied, however many there are
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
        done = set(connection.scalars(_DONE))
        new = [name for name in of_runs() if name not in done]
        for name in new:
            connection.execute(_SPREAD, {"name": name, "beside": "none" if name == runs.name else runs.name})
            connection.execute(_EMPTY, {"name": name})
        for name in sorted({*metadata.tables} - {*of_runs()} - done):
            connection.execute(_TELL, {"name": name})
    return new
