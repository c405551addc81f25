"""Statements that go to SQLite's driver read, write and fail as they do through SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from relumine.schemas.upload import RunInfo
from relumine_server.db import migrations, sqlite_driver, tables
from relumine_server.db.database import Database
from relumine_server.db.errors import problem_of
from relumine_server.db.sqlite_driver import PreparedStatement
from relumine_server.runs import repository

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
VALUES = {
    "status": "failed", "finished_at": NOW, "last_step": 7, "dropped": {"buffer_full": 2}, "is_shared": True,
    "longest_gap_s": 1.5, "watching": {"state": "watching", "reason": None, "last_step": 3}, "trace": b"\x00\xff",
    "coverage": None, "problem_health": "damaged", "detector_session": "s-1",
}  # fmt: skip


@pytest.fixture
def database(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    migrations.upgrade(database.writing_engine)
    yield database
    database.close()


def test_a_run_is_written_and_locked_as_through_sqlalchemy(database):
    def write(connection):
        repository.lock_or_create(connection, RunInfo(id="r", config={"ä": [1, None]}), NOW, lambda *_: None)
        repository.update(connection, "r", VALUES)
        row = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == "r")).one()
        assert {name: getattr(row, name) for name in VALUES} == VALUES
        assert repository.lock(connection, "r") == repository.unlocked(connection, "r")
        assert repository.lock(connection, "none") is None

    database.write(write)


def test_damaged_values_are_read_as_through_sqlalchemy(database):
    def write(connection):
        repository.lock_or_create(connection, RunInfo(id="r"), NOW, lambda *_: None)
        connection.exec_driver_sql("UPDATE runs SET dropped = '{', finished_at = 'x', watching = '[]'")
        assert repository.lock(connection, "r") == repository.unlocked(connection, "r")

    database.write(write)


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere", "INSERT INTO projects (project) VALUES (NULL)"])
def test_an_error_of_the_driver_is_the_error_of_sqlalchemy(database, sql):
    def write(connection):
        errors = []
        for run in (connection.exec_driver_sql, lambda text: sqlite_driver.execute(connection, text)):
            with pytest.raises(sa.exc.DBAPIError) as raised:
                run(sql)
            errors.append(raised.value)
        through_sqlalchemy, direct = errors
        assert type(direct) is type(through_sqlalchemy)
        assert type(problem_of(direct)) is type(problem_of(through_sqlalchemy))
        with pytest.raises(type(direct)):
            sqlite_driver.execute_many(connection, sql, [()])

    database.write(write)


def test_a_statement_with_constants_needs_only_its_named_values(database):
    p = tables.projects.c
    statement = PreparedStatement(
        sa.select(p.project, p.created_at).where(
            p.project == sa.bindparam("name"), p.policy.is_(None), p.project != "x"
        )
    )

    def write(connection):
        connection.execute(sa.insert(tables.projects).values(project="a", created_at=NOW))
        assert statement.first(connection, {"name": "a"}) == ("a", NOW)
        assert statement.first(connection, {"name": "b"}) is None

    database.write(write)
