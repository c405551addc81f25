"""A Citus cluster in place of the tests' own Postgres, where ``RELUMINE_TEST_CITUS`` names one: its hosts, as
``postgresql://name@host:port/postgres`` with a comma between, the coordinator first. Promises hold there, too.
"""

from __future__ import annotations

import os
import time

import sqlalchemy as sa

from relumine_server.storage import distribution
from relumine_server.storage.store import address
from relumine_server.storage.tables import metadata

HOSTS = [address(one) for one in os.environ.get("RELUMINE_TEST_CITUS", "").split(",") if one]
TRIES = 50


def create(name: str, template: str) -> None:
    """Copy a database on every host: its shards lie in the databases of the same name."""
    for host in HOSTS:
        for tried in range(TRIES):  # Citus' own daemons connect again and again to a database that is to be copied
            try:
                _run(host, *_closing(template), f"CREATE DATABASE {name} TEMPLATE {template}")
                break
            except sa.exc.OperationalError:
                assert tried < TRIES - 1, f"{template} stays in use"
                time.sleep(0.1)


def spread(name: str) -> None:
    """Make a migrated database on every host one of the cluster, and spread its tables of runs."""
    for host in HOSTS:
        _run(host.set(database=name), "CREATE EXTENSION citus")
    nodes = [f"'{host.host}', {host.port or 5432}" for host in HOSTS]
    adding = [f"SELECT citus_add_node({one})" for one in nodes[1:]]
    _run(HOSTS[0].set(database=name), f"SELECT citus_set_coordinator_host({nodes[0]})", *adding)
    engine = sa.create_engine(HOSTS[0].set(database=name), poolclass=sa.NullPool)
    distribution.require(engine)
    assert distribution.distribute(engine) == distribution.of_runs()
    assert distribution.distribute(engine) == []
    with engine.connect() as connection:
        known = connection.scalars(
            sa.text("SELECT relname FROM pg_dist_partition JOIN pg_class c ON c.oid = logicalrelid")
        )
        assert {*known} == {*metadata.tables}  # what Citus does not know of it commits apart
    engine.dispose()


def drop(name: str) -> None:
    """Remove a database from every host, whoever uses it."""
    for host in HOSTS:
        _run(host, *_closing(name), f"DROP DATABASE {name} WITH (FORCE)")


def _closing(name: str) -> list[str]:
    if name == "template0":
        return []
    ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - our own name
    return [f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", ending]


def _run(url: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for one in statements:
            connection.exec_driver_sql(one)
    engine.dispose()
