"""Distribution of the tables over the hosts of a Citus cluster, by ``run_id``. Plain Postgres needs none of it.

All rows of a run are on one host. Tables whose keys name no run stay on the coordinator: deliveries are leased across
all runs, and keys are written too often to be copied to every host. They are added to the metadata of Citus, because
only then a transaction that writes to a run and to them commits in two phases, as an upload that raises an alert does.
"""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.db.migrations import take_turn
from relumine_server.db.tables import runs
from relumine_server.db.types import metadata
from relumine_server.errors import NotDistributableError

_EXTENSION = sa.text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
_LOCAL_GROUP = sa.text("SELECT groupid FROM pg_dist_local_group")
_IN_METADATA = sa.text(
    "SELECT relname FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid"
    " WHERE relnamespace = current_schema()::regnamespace"
)
_DISTRIBUTE = sa.text("SELECT create_distributed_table(:name, 'run_id', colocate_with => :colocated)")
_TRUNCATE_LOCAL = sa.text("SELECT truncate_local_data_after_distributing_table(CAST(:name AS regclass))")
_ADD_LOCAL = sa.text("SELECT citus_add_local_table_to_metadata(CAST(:name AS regclass))")

COORDINATOR_GROUP = 0  # the group of the coordinator in Citus


def distributed_tables() -> list[str]:
    """Return the names of the tables to distribute: those whose keys begin with a run, the table of runs first."""
    names = [table.name for table in metadata.sorted_tables if next(iter(table.primary_key.columns)).name == "run_id"]
    return sorted(names, key=lambda name: name != runs.name)


def require(engine: sa.Engine) -> None:
    """Raise NotDistributableError unless this Postgres is the coordinator of a Citus cluster."""
    with engine.connect() as connection:
        if connection.scalar(_EXTENSION) is None:
            raise NotDistributableError("the database has no Citus: run CREATE EXTENSION citus in it first")
        if connection.scalar(_LOCAL_GROUP) != COORDINATOR_GROUP:
            raise NotDistributableError(
                "this host is a worker of its Citus cluster: --distribute needs the coordinator"
            )


def distribute(engine: sa.Engine) -> list[str]:
    """Distribute every table of runs that is not distributed yet, with its rows, all or none; returns their names.

    Readers and writers of these tables wait meanwhile.
    """
    with engine.begin() as connection:
        take_turn(connection)  # without a timeout: rows are copied, however many there are
        in_metadata = set(connection.scalars(_IN_METADATA))
        new = [name for name in distributed_tables() if name not in in_metadata]
        for name in new:
            colocated = "none" if name == runs.name else runs.name
            connection.execute(_DISTRIBUTE, {"name": name, "colocated": colocated})
            connection.execute(_TRUNCATE_LOCAL, {"name": name})
        local = set(metadata.tables) - set(distributed_tables())
        for name in sorted(local - in_metadata):
            connection.execute(_ADD_LOCAL, {"name": name})
    return new
