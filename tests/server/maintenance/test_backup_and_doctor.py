"""Backups of a database in use are complete, and ``doctor`` reports what is wrong with one."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from relumine_server.db import migrations, tables
from relumine_server.db.database import Database
from relumine_server.maintenance import backup, doctor
from tests.helpers.command_line import run_command

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'x.db'}"


def add_project(connection, name):
    connection.execute(sa.insert(tables.projects).values(project=name, created_at=NOW))


def statuses(url, now=NOW):
    return {check.name: check.status for check in doctor.examine(url, now)}


def test_a_backup_taken_while_a_server_writes_is_complete(url, tmp_path):
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    stop = threading.Event()

    def write():
        count = 0
        while not stop.is_set():
            database.write(lambda c, count=count: add_project(c, f"later{count}"))
            count += 1

    for i in range(50):
        database.write(lambda c, i=i: add_project(c, f"before{i}"))
    writer = threading.Thread(target=write)
    writer.start()
    size = backup.backup(url, tmp_path / "copy.db")
    stop.set()
    writer.join()
    database.close()
    assert size == (tmp_path / "copy.db").stat().st_size
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        names = {name for (name,) in copy.execute("SELECT project FROM projects")}
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert {f"before{i}" for i in range(50)} <= names
    assert not (tmp_path / "copy.db.part").exists()


def test_a_backup_overwrites_nothing_and_raises_where_it_is_impossible(url, tmp_path):
    (tmp_path / "there").write_text("mine")
    for target, database_url, error in [
        (tmp_path / "new", url, FileNotFoundError),
        (tmp_path / "new", "postgresql+psycopg://x/y", ValueError),
    ]:
        with pytest.raises(error):
            backup.backup(database_url, target)
    Database.open(url).close()
    sqlite3.connect(tmp_path / "x.db").close()
    result = run_command(["backup", str(tmp_path / "there"), "--database-url", url])
    assert result.exit_code == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_doctor_reports_a_good_database_as_ok(url):
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    database.close()
    checks = statuses(url)
    assert checks.pop("SQLite") in {"ok", "warning"}
    assert checks == dict.fromkeys(("file system", "disk", "schema", "clock", "integrity"), "ok")
    assert run_command(["doctor", "--database-url", url]).exit_code == 0


def test_doctor_reports_each_problem(url, tmp_path, monkeypatch):
    assert statuses(url)["database"] == "warning"
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    columns = {"project": "p", "config": {}, "tags": [], "status": "running", "dropped": {}}
    times = {"created_at": NOW, "updated_at": NOW + timedelta(hours=1)}
    database.write(lambda c: c.execute(sa.insert(tables.runs).values(run_id="r", **columns, **times)))
    migrations.downgrade(database.writing_engine, "base")
    database.close()
    assert statuses(url)["schema"] == "problem"
    monkeypatch.setattr(doctor, "_file_system_of", lambda path: "nfs4")
    assert statuses(url)["file system"] == "problem"
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    assert "problem" in {statuses(url).get(name) for name in ("connection", "integrity")}
    assert run_command(["doctor", "--database-url", url]).exit_code == 1


def test_doctor_reports_a_clock_that_went_back(url):
    database = Database.open(url)
    migrations.upgrade(database.writing_engine)
    columns = {"project": "p", "config": {}, "tags": [], "status": "running", "dropped": {}}
    times = {"created_at": NOW, "updated_at": NOW + timedelta(hours=1)}
    database.write(lambda c: c.execute(sa.insert(tables.runs).values(run_id="r", **columns, **times)))
    database.close()
    assert statuses(url)["clock"] == "problem"
    assert statuses(url, NOW + timedelta(hours=2))["clock"] == "ok"


def test_doctor_reports_a_server_that_it_cannot_reach():
    assert statuses("postgresql+psycopg://relumine@127.0.0.1:9/none")["connection"] == "problem"
