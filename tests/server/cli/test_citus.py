"""``migrate --distribute`` without Citus is refused in one line and changes nothing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from relumine_server.db import migrations
from relumine_server.db.database import parse_url
from tests.helpers import citus_cluster
from tests.helpers.forked_python import SERVERS

MESSAGES = {"sqlite": "SQLite cannot be distributed over several hosts", "postgresql": "the database has no Citus"}


@pytest.fixture
def engine(database_url):
    created = sa.create_engine(parse_url(database_url), poolclass=sa.NullPool)
    yield created
    created.dispose()


def schema(engine):
    """Return the revision, and every table with its columns."""
    inspector = sa.inspect(engine)
    with engine.connect() as connection:
        revision = migrations.current(connection)
    columns = {name: [str(column) for column in inspector.get_columns(name)] for name in inspector.get_table_names()}
    return revision, columns


def distribute(database_url):
    return SERVERS.run(["-m", "relumine_server", "migrate", "--distribute", "--database-url", database_url])


@pytest.mark.skipif(bool(citus_cluster.HOSTS), reason="the named cluster has Citus")
@pytest.mark.parametrize("revision", ["base", "head"])
def test_without_citus_the_command_is_refused_in_one_line_and_the_schema_stays(engine, database_url, revision):
    migrations.downgrade(engine, revision)
    schema_before = schema(engine)
    result = distribute(database_url)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert MESSAGES[engine.dialect.name] in result.stderr
    assert schema(engine) == schema_before


def test_a_refused_command_creates_no_file(tmp_path):
    result = distribute(f"sqlite:///{tmp_path / 'x.db'}")
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [])
