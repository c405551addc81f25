"""A migration takes as long as it takes, and servers that start meanwhile wait for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
import structlog

from relumine_server.app import create_app
from relumine_server.db import database as database_module
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.settings import Settings
from tests.helpers import slow_migration

SHORT_TIMEOUTS = dict.fromkeys(database_module.POSTGRES_SESSION, "200ms")
SERVERS = 3


@pytest.fixture
def slow_head(tmp_path, monkeypatch, postgres_template):
    """The migrations end in a revision that takes five times the timeouts of requests.

    The template of the tests' databases is migrated before that, to the real head.
    """
    folder = slow_migration.copy_with_slow_revision(tmp_path / "migrations", seconds=1)
    monkeypatch.setattr(migrations, "script_location", lambda: folder)
    monkeypatch.setattr(database_module, "POSTGRES_SESSION", SHORT_TIMEOUTS)


def test_three_servers_that_start_at_once_wait_for_a_migration_longer_than_any_timeout(new_database, slow_head):
    url = new_database("postgresql")

    def start(_number):
        app = create_app(Settings(database_url=url))
        app.state.services.database.close()

    with structlog.testing.capture_logs() as logs, ThreadPoolExecutor(SERVERS) as pool:
        list(pool.map(start, range(SERVERS)))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert migrations.current(connection) == slow_migration.REVISION
        assert sa.inspect(connection).has_table("slow")
    events = [log["event"] for log in logs]
    assert [log["revision"] for log in logs if log["event"] == "migrated"] == [slow_migration.REVISION]
    assert events.count("waiting for another process that migrates the database") >= SERVERS - 1


def test_a_server_waits_for_a_table_that_another_transaction_holds(new_database, slow_head):
    """Without a lock timeout, too: DDL waits for the requests of an old server to end."""
    url = new_database("postgresql")
    holder = sa.create_engine(url, poolclass=sa.NullPool).connect()
    holder.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    database = Database.open(url)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(migrations.upgrade, database.writing_engine)
        holder.exec_driver_sql("SELECT pg_sleep(1)")
        assert not migration.done()
        holder.rollback()
        migration.result(60)
    holder.close()
    database.close()


def test_each_applied_revision_is_logged(database_url):
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with structlog.testing.capture_logs() as logs:
        migrations.downgrade(engine, "base")
        migrations.upgrade(engine)
        migrations.upgrade(engine)
    steps = [(log["revision"], log["direction"]) for log in logs if log["event"] == "migrated"]
    assert steps == [("0001", "down"), ("0001", "up")]
