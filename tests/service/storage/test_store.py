"""The two doors: what returned is committed, what failed failed alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from relumine_server.errors import Busy, FileInUse, StorageUnavailable
from relumine_server.storage import writer as module
from relumine_server.storage.store import Store


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    opened.write(lambda c: c.execute(sa.text("CREATE TABLE n (i INTEGER PRIMARY KEY)")) and None)
    yield opened
    opened.close()


def insert(number):
    return lambda c: c.execute(sa.text("INSERT INTO n VALUES (:i)"), {"i": number}) and None


def numbers(store):
    with store.read() as connection:
        return sorted(connection.scalars(sa.text("SELECT i FROM n")))


def test_a_failing_work_fails_alone_among_those_committed_with_it(store):
    held, go = threading.Event(), threading.Event()

    def hold(_connection):
        held.set()
        go.wait(10)

    def fail(connection):
        insert(99)(connection)
        raise ZeroDivisionError

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.write, hold)
        held.wait(10)
        good = [pool.submit(store.write, insert(i)) for i in range(4)]
        bad = pool.submit(store.write, fail)
        go.set()
        first.result(10)
        assert [future.result(10) for future in good] == [None] * 4
        with pytest.raises(ZeroDivisionError):
            bad.result(10)
    assert numbers(store) == [0, 1, 2, 3]


def test_many_threads_lose_nothing(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.write(insert(i)), range(200)))
    assert numbers(store) == list(range(200))


def test_a_full_queue_says_come_back(store, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 1)
    held, go = threading.Event(), threading.Event()
    small = Store.open(f"sqlite:///{store.engine.url.database}2")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(small.write, lambda _c: (held.set(), go.wait(10)))
        held.wait(10)
        second = pool.submit(small.write, lambda _c: None)
        while small.waiting == 0:
            pass
        with pytest.raises(Busy):
            small.write(lambda _c: None)
        go.set()
        first.result(10)
        second.result(10)
    small.close()


def test_a_second_store_on_the_file_is_refused_by_name(store):
    with pytest.raises(FileInUse, match="already served by another process"):
        Store.open(str(store.engine.url))


def test_a_closed_store_refuses(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'y.db'}")
    opened.close()
    with pytest.raises(StorageUnavailable):
        opened.write(lambda _c: None)


def test_sqlite_is_set_up_to_keep_what_it_acknowledged(store):
    with store.read() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2  # FULL
