"""``migrate --distribute`` where there is no Citus: one sentence, and the database as it was."""

from __future__ import annotations

import subprocess
import sys

import citus_cluster
import pytest
import sqlalchemy as sa

from relumine_server.storage import migrate
from relumine_server.storage.store import address

SAID = {"sqlite": "SQLite cannot be spread over several hosts", "postgresql": "the database has no Citus"}


@pytest.fixture
def engine(database_url):
    made = sa.create_engine(address(database_url), poolclass=sa.NullPool)
    yield made
    made.dispose()


def schema(engine):
    """Every table with its columns, and the revision."""
    seen = sa.inspect(engine)
    with engine.connect() as connection:
        revision = migrate.current(connection)
    return revision, {name: [str(one) for one in seen.get_columns(name)] for name in seen.get_table_names()}


def distribute(database_url):
    command = [sys.executable, "-m", "relumine_server", "migrate", "--distribute", "--database-url", database_url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(bool(citus_cluster.HOSTS), reason="the cluster that was named has Citus")
@pytest.mark.parametrize("revision", ["base", "0004", "head"])
def test_without_citus_it_is_refused_in_one_sentence_and_the_schema_stays(engine, database_url, revision):
    migrate.downgrade(engine, revision)
    before = schema(engine)
    done = distribute(database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert SAID[engine.dialect.name] in done.stderr
    assert schema(engine) == before


def test_a_refusal_makes_no_file(tmp_path):
    done = distribute(f"sqlite:///{tmp_path / 'x.db'}")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
