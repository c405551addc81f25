"""Writes to SQLite: one thread runs all write functions, and commits together those that wait.

A function that fails in a group fails alone: it is undone to its savepoint, or, after an error of the database, the
group is rolled back and its functions run one by one. Callers get their result after the commit, never before.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from relumine_server.db import sqlite_driver
from relumine_server.db.dialect import MAX_WAITING, T, WriteFn
from relumine_server.db.errors import problem_from
from relumine_server.db.sqlite_files import FileIdentity, OpenFiles
from relumine_server.db.sqlite_log import LogCutError, LogState, WriteAheadLog
from relumine_server.errors import Busy, StorageOutage, StorageUnavailable

_log = structlog.get_logger(__name__)

MAX_GROUP = 64  # functions committed together
MAX_GROUP_S = 0.05  # no function joins a group that has run so long: large writes gain nothing from company

LOG_IDENTITY = "log_identity"
"""Key in the ``info`` of a connection: the identity of the write-ahead log that it has open."""

CHECKPOINT_FRAMES = 1_000  # a WAL of so many pages is copied into the file at once, as SQLite does by default
IDLE_S = 1.0  # after so long without writes, the writer copies the WAL into the file


class _Write(NamedTuple):
    fn: WriteFn[Any]
    future: Future[Any]


class _Failure(NamedTuple):
    error: Exception


class SqliteWriter:
    """The one thread that writes to SQLite."""

    def __init__(self, engine: sa.Engine, files: OpenFiles, log: WriteAheadLog) -> None:
        self.engine = engine
        self._files = files
        self._log = log
        self._log_identity: FileIdentity | None = None
        self._queue: queue.Queue[_Write | None] = queue.Queue(MAX_WAITING)
        self._is_closed = False
        self._is_wal_dirty = False
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="relumine-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Write functions in the queue."""
        return self._queue.qsize()

    def submit(self, fn: WriteFn[T]) -> Future[T]:
        """Queue a write function. Raises Busy where too many wait, StorageUnavailable after ``close``."""
        if self._is_closed:
            raise StorageUnavailable
        future: Future[T] = Future()
        try:
            self._queue.put_nowait(_Write(fn, future))
        except queue.Full:
            raise Busy from None
        return future

    def write(self, fn: WriteFn[T]) -> T:
        """Run a write function; when this returns it is committed."""
        return self.submit(fn).result()

    def note_error(self, error: DBAPIError) -> None:
        """Do nothing: there is nothing to learn from an error of a file."""

    def require_reachable(self) -> None:
        """Do nothing: a file is always reachable."""

    def require_writable(self, earlier: LogState | None = None) -> None:
        """Raise StorageOutage unless the open files are at their paths and whole.

        ``earlier`` is the state of the log before the last commit, to be asked after it.
        """
        self._files.require(self._log_identity)
        self._log.require_whole(earlier)

    async def write_soon(self, fn: WriteFn[T]) -> T:
        """Run a write function without blocking the event loop."""
        return await asyncio.wrap_future(self.submit(fn))

    def close(self) -> None:
        """Finish the queued writes and close all connections."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()
        with suppress(StorageOutage):
            self._require_writable()  # the last connection copies the log into the file
        self.engine.dispose()

    def _run(self) -> None:
        while not self._is_ending:
            try:
                self._run_next_group()
            except Exception:  # noqa: BLE001 - logged; without this thread no write would be answered any more
                _log.exception("the writer of the database failed; it goes on")

    def _run_next_group(self) -> None:
        """Commit the writes that wait. When this returns, nothing refers to a write and its body any more."""
        try:
            first = self._queue.get(timeout=IDLE_S if self._is_wal_dirty else None)
        except queue.Empty:
            self._checkpoint()
            return
        if first is None:
            self._is_ending = True
        else:
            self._commit_group(first)
            if self._log.frames >= CHECKPOINT_FRAMES:
                self._checkpoint()

    def _commit_group(self, first: _Write) -> None:
        """Run one transaction for the writes that wait; one for each of them if the database refuses it."""
        self._is_wal_dirty = True
        writes: list[_Write] = []
        results: list[Any] = []
        group = self._group(first)
        try:
            with self._transaction() as connection:
                for write in group:
                    writes.append(write)
                    results.append(_run_in_savepoint(connection, write.fn))
        except StorageOutage as error:  # the file is gone: none may run again, it may be committed
            writes = writes or list(group)
            results = [_Failure(error)] * len(writes)
        except Exception:  # noqa: BLE001 - which write is to blame shows when each runs alone
            writes = writes or list(group)
            results = [self._run_alone(write.fn) for write in writes]
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, _Failure):
                write.future.set_exception(result.error)
            else:
                write.future.set_result(result)

    def _group(self, first: _Write) -> Iterator[_Write]:
        """Yield the writes that wait, as long as there is room and time for them; never wait for more."""
        started_at = time.monotonic()
        write: _Write | None = first
        for number in range(MAX_GROUP):
            if write is None:
                self._is_ending = True
                return
            if write.future.set_running_or_notify_cancel():
                yield write
            if time.monotonic() - started_at > MAX_GROUP_S or number == MAX_GROUP - 1:
                return
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                return

    def _run_alone(self, fn: WriteFn[Any]) -> Any:
        try:
            with self._transaction() as connection:
                return fn(connection)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return _Failure(problem_from(error))

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction that is committed to the file at the path of the database, or raises.

        The files are looked at again after the commit: what is acknowledged was found there.
        """
        with self.engine.connect() as connection:
            self._log_identity = connection.info[LOG_IDENTITY]
            self._require_writable()
            earlier = self._log.state()
            with connection.begin():
                yield connection
            self._require_writable(earlier)

    def _require_writable(self, earlier: LogState | None = None) -> None:
        """Raise as ``require_writable``; leave no log with a hole, which SQLite would copy into the database."""
        try:
            self.require_writable(earlier)
        except LogCutError:
            self._log.end_at_hole()
            raise

    def _checkpoint(self) -> None:
        """Copy the WAL into the file. Only this thread does it: two at once have damaged files before SQLite 3.51.3."""
        self._is_wal_dirty = False
        try:
            self._require_writable()
            with self.engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (SQLAlchemyError, sqlite3.Error, StorageOutage, OSError):  # the statement goes to the driver itself
            return  # the next commit tries again


def _run_in_savepoint(connection: sa.Connection, fn: WriteFn[Any]) -> Any:
    """Run one write function of a group. Its own error undoes only itself, an error of the database the whole group."""
    sqlite_driver.execute(connection, "SAVEPOINT write_fn")
    try:
        result = fn(connection)
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - handed to the caller
        sqlite_driver.execute(connection, "ROLLBACK TO write_fn")
        result = _Failure(error)
    sqlite_driver.execute(connection, "RELEASE write_fn")
    return result
