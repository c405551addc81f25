"""A Citus cluster that replaces the tests' own Postgres if ``RELUMINE_TEST_CITUS`` names its hosts.

Hosts are ``postgresql://name@host:port/postgres``, separated by commas, the coordinator first.
"""

from __future__ import annotations

import os
import time
from itertools import count

import sqlalchemy as sa

from relumine_server.db import citus
from relumine_server.db.database import parse_url
from relumine_server.db.types import metadata

HOSTS = [parse_url(url) for url in os.environ.get("RELUMINE_TEST_CITUS", "").split(",") if url]
TRIES = 50
_numbers = count(1)


def create_database(server: sa.URL, template: str) -> sa.URL:
    """Copy a database on every host, since shards are in databases of the same name; return its address."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    for host in HOSTS:
        for attempt in range(TRIES):  # Citus' own daemons keep connecting to the database that is copied
            try:
                _run(host, *_closing(template), f"CREATE DATABASE {name} TEMPLATE {template}")
                break
            except sa.exc.OperationalError:
                assert attempt < TRIES - 1, f"{template} stays in use"
                time.sleep(0.1)  # a daemon of Citus lets go of the template
    return server.set(database=name)


def form_cluster(name: str) -> None:
    """Form a cluster of the migrated databases on all hosts, and distribute its tables of runs."""
    for host in HOSTS:
        _run(host.set(database=name), "CREATE EXTENSION citus")
    nodes = [f"'{host.host}', {host.port or 5432}" for host in HOSTS]
    additions = [f"SELECT citus_add_node({node})" for node in nodes[1:]]
    _run(HOSTS[0].set(database=name), f"SELECT citus_set_coordinator_host({nodes[0]})", *additions)
    engine = sa.create_engine(HOSTS[0].set(database=name), poolclass=sa.NullPool)
    citus.require(engine)
    assert citus.distribute(engine) == citus.distributed_tables()
    assert citus.distribute(engine) == []
    with engine.connect() as connection:
        distributed = connection.scalars(
            sa.text("SELECT relname FROM pg_dist_partition JOIN pg_class c ON c.oid = logicalrelid")
        )
        assert {*distributed} == {*metadata.tables}  # a table unknown to Citus would be committed separately
    engine.dispose()


def drop(name: str) -> None:
    """Drop a database on every host, and close the connections to it."""
    for host in HOSTS:
        _run(host, *_closing(name), f"DROP DATABASE {name} WITH (FORCE)")


def _closing(name: str) -> list[str]:
    if name == "template0":
        return []
    terminate = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - our own name
    return [f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", terminate]


def _run(url: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
