"""The newest revision and the keys of a SQLite file are read without Alembic and SQLAlchemy, with the same results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from relumine_server import database_url
from relumine_server.auth import repository, stored_keys
from relumine_server.auth.api_keys import new_key
from relumine_server.db import migrations, revisions, sqlite_snapshot
from relumine_server.db.database import Database, parse_url
from relumine_server.settings import Settings
from tests.helpers import slow_migration

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


def test_the_newest_revision_is_the_one_that_alembic_finds(tmp_path, monkeypatch):
    assert migrations.head() == ScriptDirectory.from_config(migrations.config()).get_current_head()
    folder = slow_migration.copy_with_slow_revision(tmp_path / "migrations", seconds=0)
    monkeypatch.setattr(migrations, "script_location", lambda: folder)
    assert migrations.head() == ScriptDirectory.from_config(migrations.config()).get_current_head() == "9999"
    assert revisions.head(tmp_path) is None


def test_keys_of_a_file_are_those_of_the_database_in_their_order(tmp_path):
    path = tmp_path / "x.db"
    database = Database.open(f"sqlite:///{path}")
    migrations.upgrade(database.writing_engine)
    for minutes, expires_at in (2, None), (0, NOW), (1, NOW.replace(microsecond=0)):
        created_at = NOW + timedelta(minutes=minutes)
        _, row = new_key("admin", None, f"name {minutes}\udc80"[:6], now=created_at, expires_at=expires_at)
        database.write(lambda connection, row=row: repository.insert_key(connection, row))
    with database.read() as connection:
        rows = repository.page_keys(connection, project=None, position=None, limit=9)
    with sqlite_snapshot.snapshot(path) as connection:
        assert stored_keys.all_keys(connection) == rows
        assert sqlite_snapshot.revision(connection) == migrations.head()
    database.write(lambda connection: connection.execute(sa.text("UPDATE api_keys SET created_at = 'damaged'")))
    database.close()
    with sqlite_snapshot.snapshot(path) as connection:
        assert {row.created_at for row in stored_keys.all_keys(connection)} == {sqlite_snapshot.EPOCH}


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite:////a/b c.db", "sqlite:///ä.db", "sqlite:///a@b:1/x"])
def test_a_plain_address_of_a_file_is_read_as_sqlalchemy_reads_it(url):
    assert str(database_url.plain_sqlite_path(url)) == parse_url(url).database


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x?mode=ro", "sqlite:///%20", "x", "pg:///"]
)
def test_any_other_address_is_left_to_sqlalchemy(url):
    assert database_url.plain_sqlite_path(url) is None


@pytest.mark.parametrize("name", ["RELUMINE_DATABASE_URL", "relumine_database_url"])
def test_the_address_of_the_environment_is_that_of_the_settings(name, monkeypatch):
    monkeypatch.delenv("RELUMINE_DATABASE_URL", raising=False)
    assert database_url.from_environment() == Settings().database_url == "sqlite:///relumine.db"
    monkeypatch.setenv(name, "sqlite:///other.db")
    assert database_url.from_environment() == Settings().database_url == "sqlite:///other.db"
