"""The two doors to the database: ``read`` and ``write``. They are opened inside a handler, never as a dependency.

SQLite has one writer thread: works that wait are committed together, each in a savepoint of its own, so that a
failing one fails alone. On Postgres a work is a transaction of its own. A write that returned is committed.
"""

from __future__ import annotations

import fcntl
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from relumine_server.errors import Busy, FileInUse, NotReady, StorageUnavailable

T = TypeVar("T")

GROUP = 64  # works committed together at most
WAITING = 256  # works that may wait before callers are told to come back
BUSY_TIMEOUT_MS = 5_000


class Store:
    """An open database."""

    def __init__(self, engine: sa.Engine, writer: _Writer | None, lock: IO[str] | None) -> None:
        self.engine = engine
        self._writer = writer
        self._lock = lock

    @classmethod
    def open(cls, database_url: str) -> Store:
        """Open the database. Raises FileInUse where another process serves the same SQLite file."""
        url = make_url(database_url)
        if url.get_backend_name() != "sqlite":
            engine = sa.create_engine(url, pool_size=8, max_overflow=0, pool_timeout=1, pool_pre_ping=True)
            return cls(engine, None, None)
        lock = _lock_file(Path(url.database or "relumine.db"))
        return cls(_sqlite(url, "BEGIN"), _Writer(_sqlite(url, "BEGIN IMMEDIATE")), lock)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: one consistent view. Raises NotReady where there is no database."""
        try:
            connection = self.engine.connect()
        except SQLAlchemyError as error:
            raise NotReady from error
        with connection:
            yield connection

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction; when this returns it is committed. Raises what ``work`` raises, or Busy."""
        if self._writer is not None:
            return self._writer.write(work)
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except sa.exc.TimeoutError as error:
            raise Busy from error

    @property
    def writing_engine(self) -> sa.Engine:
        """The engine that migrations use."""
        return self.engine if self._writer is None else self._writer.engine

    def close(self) -> None:
        """Finish what waits, close every connection, give the file free."""
        if self._writer is not None:
            self._writer.close()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()


class _Writer:
    """The one thread that writes to SQLite."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._works: queue.Queue[tuple[Callable[[sa.Connection], Any], Future[Any]] | None] = queue.Queue(WAITING)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="relumine-writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        future: Future[T] = Future()
        if self._closed:
            raise StorageUnavailable
        try:
            self._works.put_nowait((work, future))
        except queue.Full:
            raise Busy from None
        return future.result()

    def close(self) -> None:
        self._closed = True
        self._works.put(None)
        self._thread.join()
        self.engine.dispose()

    def _run(self) -> None:
        while (first := self._works.get()) is not None:
            group, ending = self._gather(first)
            self._commit(group)
            if ending:
                return

    def _gather(self, first: Any) -> tuple[list[Any], bool]:
        """What waits already, without waiting for more."""
        group = [first]
        while len(group) < GROUP:
            try:
                item = self._works.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
        return group, False

    def _commit(self, group: list[tuple[Callable[[sa.Connection], Any], Future[Any]]]) -> None:
        """One transaction; callers learn their result only after the commit."""
        done: list[tuple[Future[Any], Any]] = []
        try:
            with self.engine.begin() as connection:
                for work, future in group:
                    try:
                        with connection.begin_nested():
                            done.append((future, work(connection)))
                    except Exception as error:  # noqa: BLE001 - handed to the caller who owns the work
                        future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - nothing of the group is stored, every caller must know
            for _, future in group:
                if not future.done():
                    future.set_exception(_as_problem(error))
            return
        for future, result in done:
            future.set_result(result)


def _as_problem(error: Exception) -> Exception:
    """A disk that is full or read-only is a state of the server, not a fault of the request."""
    if not isinstance(error, SQLAlchemyError):
        return error
    problem = StorageUnavailable("the database refused to commit")
    problem.__cause__ = error
    return problem


def _sqlite(url: sa.URL, begin: str) -> sa.Engine:
    """An engine whose transactions begin as told: sqlite3's own would begin too late and deferred."""
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def open_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _lock_file(database: Path) -> IO[str]:
    """Hold a lock beside the file for the life of the process; the kernel drops it even after kill -9."""
    database.parent.mkdir(parents=True, exist_ok=True)
    path = database.with_name(database.name + ".lock")
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise FileInUse(f"{database} is already served by another process; SQLite takes one, Postgres many") from error
    return file
