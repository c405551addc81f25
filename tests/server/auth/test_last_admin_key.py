"""The last admin key of all projects stays, even where transactions revoke several keys at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from relumine_server.auth import repository as auth_repository
from relumine_server.auth.api_keys import new_key
from relumine_server.db.database import Database
from relumine_server.errors import LastAdminKey

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


@pytest.fixture
def postgres_database(new_database):
    opened = Database.open(new_database("postgresql"))
    yield opened
    opened.close()


def insert_admin_key(database, expires_at=None):
    _, row = new_key("admin", None, None, now=NOW, expires_at=expires_at)
    database.write(lambda connection: auth_repository.insert_key(connection, row))
    return row.key_id


def states(database, now=NOW):
    with database.read() as connection:
        keys = auth_repository.page_keys(connection, project=None, position=None, limit=100)
    return sorted(key.state(now) for key in keys)


def revoke(database, key_id, now=NOW):
    """Revoke a key as a route does; True where it was refused as the last one."""
    try:
        database.write(lambda connection: auth_repository.revoke(connection, key_id, lambda: now))
    except LastAdminKey:
        return True
    return False


def wait_for_blocked(database, count):
    """Wait until so many transactions wait for a lock."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(600):
        with database.read() as connection:
            if connection.scalar(query) >= count:
                return
        threading.Event().wait(0.05)
    raise AssertionError("no transaction waits")


def test_of_two_admin_keys_revoked_at_once_one_stays(postgres_database):
    """Both transactions are held up until both have begun, so that neither sees the other's commit by chance."""
    key_ids = [insert_admin_key(postgres_database) for _ in range(2)]
    holder = sa.create_engine(postgres_database.engine.url, poolclass=sa.NullPool).connect()
    holder.exec_driver_sql("SELECT * FROM api_keys FOR UPDATE")
    with ThreadPoolExecutor(2) as pool:
        refused = [pool.submit(revoke, postgres_database, key_id) for key_id in key_ids]
        wait_for_blocked(postgres_database, 2)
        holder.rollback()
        holder.close()
        assert sorted(future.result(60) for future in refused) == [False, True]
    assert states(postgres_database) == ["revoked", "valid"]


def test_a_key_that_expires_while_the_revocation_waits_does_not_count(postgres_database):
    expires_at = NOW + timedelta(seconds=10)
    insert_admin_key(postgres_database, expires_at)
    last = insert_admin_key(postgres_database)
    time = [NOW]
    holder = sa.create_engine(postgres_database.engine.url, poolclass=sa.NullPool).connect()
    holder.exec_driver_sql("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE")
    revocation = lambda connection: auth_repository.revoke(connection, last, lambda: time[0])  # noqa: E731
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(postgres_database.write, revocation)
        wait_for_blocked(postgres_database, 1)
        time[0] = expires_at
        holder.rollback()
        holder.close()
        with pytest.raises(LastAdminKey):
            future.result(60)
    assert states(postgres_database, expires_at) == ["expired", "valid"]
