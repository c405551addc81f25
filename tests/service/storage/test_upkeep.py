"""A copy of a database in use is whole, and what is wrong with one is said."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from relumine_server.__main__ import cli
from relumine_server.storage import migrate, upkeep
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'x.db'}"


def add_project(connection, name):
    connection.execute(sa.insert(t.projects).values(project=name, created_at=NOW))


def verdicts(url, now=NOW):
    return {check.what: check.verdict for check in upkeep.examine(url, now)}


def test_a_copy_taken_while_a_server_writes_is_whole_and_holds_what_was_committed(url, tmp_path):
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    stop = threading.Event()

    def write():
        count = 0
        while not stop.is_set():
            store.write(lambda c, count=count: add_project(c, f"later{count}"))
            count += 1

    for i in range(50):
        store.write(lambda c, i=i: add_project(c, f"before{i}"))
    writer = threading.Thread(target=write)
    writer.start()
    size = upkeep.backup(url, tmp_path / "copy.db")
    stop.set()
    writer.join()
    store.close()
    assert size == (tmp_path / "copy.db").stat().st_size
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        names = {name for (name,) in copy.execute("SELECT project FROM projects")}
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert {f"before{i}" for i in range(50)} <= names
    assert not (tmp_path / "copy.db.part").exists()


def test_a_backup_overwrites_nothing_and_says_why_there_is_none(url, tmp_path):
    (tmp_path / "there").write_text("mine")
    for target, database_url, error in [
        (tmp_path / "new", url, FileNotFoundError),
        (tmp_path / "new", "postgresql+psycopg://x/y", ValueError),
    ]:
        with pytest.raises(error):
            upkeep.backup(database_url, target)
    Store.open(url).close()
    sqlite3.connect(tmp_path / "x.db").close()
    answer = CliRunner().invoke(cli, ["backup", str(tmp_path / "there"), "--database-url", url])
    assert answer.exit_code == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_doctor_finds_a_good_database_good(url):
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    store.close()
    found = verdicts(url)
    assert set(found) == {"SQLite", "file system", "disk", "schema", "clock", "integrity"}
    assert {what: verdict for what, verdict in found.items() if what != "SQLite"} == dict.fromkeys(
        ("file system", "disk", "schema", "clock", "integrity"), "ok"
    )
    assert CliRunner().invoke(cli, ["doctor", "--database-url", url]).exit_code == 0


def test_doctor_says_what_is_wrong(url, tmp_path, monkeypatch):
    assert verdicts(url)["database"] == "warning"
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    columns = {"project": "p", "config": {}, "tags": [], "state": "running", "dropped": {}}
    times = {"created_at": NOW, "updated_at": NOW + timedelta(hours=1)}
    store.write(lambda c: c.execute(sa.insert(t.runs).values(run_id="r", **columns, **times)))
    migrate.downgrade(store.writing_engine, "base")
    store.close()
    assert verdicts(url)["schema"] == "problem"
    monkeypatch.setattr(upkeep, "_mounted", lambda path: "nfs4")
    assert verdicts(url)["file system"] == "problem"
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    assert "problem" in {verdict for what, verdict in verdicts(url).items() if what in ("connection", "integrity")}
    assert CliRunner().invoke(cli, ["doctor", "--database-url", url]).exit_code == 1


def test_doctor_notices_a_clock_that_went_back(url):
    store = Store.open(url)
    migrate.upgrade(store.writing_engine)
    columns = {"project": "p", "config": {}, "tags": [], "state": "running", "dropped": {}}
    times = {"created_at": NOW, "updated_at": NOW + timedelta(hours=1)}
    store.write(lambda c: c.execute(sa.insert(t.runs).values(run_id="r", **columns, **times)))
    store.close()
    assert verdicts(url)["clock"] == "problem"
    assert verdicts(url, NOW + timedelta(hours=2))["clock"] == "ok"


def test_doctor_says_where_a_server_cannot_be_reached():
    assert verdicts("postgresql+psycopg://nobody@127.0.0.1:9/none")["connection"] == "problem"
