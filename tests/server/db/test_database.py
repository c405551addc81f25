"""The database: a write that returned is committed, a write that failed failed alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from relumine_server.db import sqlite_writer
from relumine_server.db.database import Database
from relumine_server.errors import Busy, FileInUseError, StorageUnavailable


@pytest.fixture
def database(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    opened.write(lambda c: c.execute(sa.text("CREATE TABLE n (i INTEGER PRIMARY KEY)")) and None)
    yield opened
    opened.close()


def insert(number):
    return lambda c: c.execute(sa.text("INSERT INTO n VALUES (:i)"), {"i": number}) and None


def stored_numbers(database):
    with database.read() as connection:
        return sorted(connection.scalars(sa.text("SELECT i FROM n")))


def test_a_failing_write_fails_alone_in_its_group(database):
    started = threading.Event()
    release = threading.Event()

    def block(_connection):
        started.set()
        release.wait(60)

    def fail(connection):
        insert(99)(connection)
        raise ZeroDivisionError

    with ThreadPoolExecutor(8) as pool:
        blocked = pool.submit(database.write, block)
        started.wait(60)
        good = [pool.submit(database.write, insert(i)) for i in range(4)]
        bad = pool.submit(database.write, fail)
        release.set()
        blocked.result(60)
        assert [future.result(60) for future in good] == [None] * 4
        with pytest.raises(ZeroDivisionError):
            bad.result(60)
    assert stored_numbers(database) == [0, 1, 2, 3]


def test_many_threads_lose_nothing(database):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: database.write(insert(i)), range(200)))
    assert stored_numbers(database) == list(range(200))


def test_a_full_queue_refuses_writes(database, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "MAX_WAITING", 1)
    started = threading.Event()
    release = threading.Event()
    small = Database.open(f"sqlite:///{database.engine.url.database}2")
    with ThreadPoolExecutor(2) as pool:
        blocked = pool.submit(small.write, lambda _c: (started.set(), release.wait(60)))
        started.wait(60)
        waiting = pool.submit(small.write, lambda _c: None)
        while small.waiting == 0:
            pass
        with pytest.raises(Busy):
            small.write(lambda _c: None)
        release.set()
        blocked.result(60)
        waiting.result(60)
    small.close()


def test_a_file_that_is_in_use_is_refused(database):
    with pytest.raises(FileInUseError, match="already served by another process"):
        Database.open(str(database.engine.url))


def test_a_closed_database_refuses_writes(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'y.db'}")
    opened.close()
    with pytest.raises(StorageUnavailable):
        opened.write(lambda _c: None)


def test_sqlite_keeps_what_it_acknowledged(database):
    with database.read() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2  # FULL
