"""Who writes: to SQLite one thread, which commits what waits together; to Postgres a transaction of its own each.

A work that fails among others fails alone: the group is rolled back and its works are run one by one. Callers learn
their result after the commit, never before.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from relumine_server.errors import Busy, StorageUnavailable
from relumine_server.storage.troubles import is_passing, problem_of

T = TypeVar("T")
Work: TypeAlias = Callable[[sa.Connection], T]

GROUP = 64  # works committed together at most
GROUP_S = 0.05  # … and no more are begun after so long: large works gain nothing from company
WAITING = 256  # works that may wait before callers are told to come back
IDLE_S = 1.0  # without work for so long, the writer copies the WAL into the file
PATIENCE_S = 0.9  # for a connection to Postgres, while none comes free


class _Item(NamedTuple):
    work: Work[Any]
    future: Future[Any]


class _Failed(NamedTuple):
    error: Exception


class Writer:
    """The one thread that writes to SQLite."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._items: queue.Queue[_Item | None] = queue.Queue(WAITING)
        self._closed = False
        self._dirty = False
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="relumine-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Works that wait."""
        return self._items.qsize()

    def submit(self, work: Work[T]) -> Future[T]:
        """Take a work. Raises Busy where too many wait, StorageUnavailable after the end."""
        future: Future[T] = Future()
        if self._closed:
            raise StorageUnavailable
        try:
            self._items.put_nowait(_Item(work, future))
        except queue.Full:
            raise Busy from None
        return future

    def write(self, work: Work[T], *, repeatable: bool = False) -> T:  # noqa: ARG002 - a commit here is never in doubt
        """Run a work; when this returns it is committed."""
        return self.submit(work).result()

    async def write_soon(self, work: Work[T]) -> T:
        """``write`` for a coroutine: no thread waits for it."""
        return await asyncio.wrap_future(self.submit(work))

    def close(self) -> None:
        """Finish what waits."""
        self._closed = True
        self._items.put(None)
        self._thread.join()
        self.engine.dispose()

    def _run(self) -> None:
        while not self._turn():
            pass

    def _turn(self) -> bool:
        """Commit what comes next; whether it was the end. On its return nothing holds on to the work and its body."""
        try:
            first = self._items.get(timeout=IDLE_S if self._dirty else None)
        except queue.Empty:
            self._checkpoint()
            return False
        return first is None or self._commit(first)

    def _commit(self, first: _Item) -> bool:
        """One transaction for what waits; should the database refuse it, one for each. Says whether it was the end."""
        self._dirty = True
        items: list[_Item] = []
        results: list[Any] = []
        group = self._group(first)
        try:
            with self.engine.begin() as connection:
                for item in group:
                    items.append(item)
                    results.append(_guarded(connection, item.work))
        except Exception:  # noqa: BLE001 - whose fault it was shows when each is run alone
            items = items or list(group)
            results = [self._alone(item.work) for item in items]
        for item, result in zip(items, results, strict=True):
            _settle(item.future, result)
        return self._ending

    def _group(self, first: _Item) -> Iterator[_Item]:
        """Works that wait, as long as there is room and time for them; never waits for more."""
        began = time.monotonic()
        item: _Item | None = first
        for place in range(GROUP):
            if item is None:
                self._ending = True
                return
            if item.future.set_running_or_notify_cancel():
                yield item
            if time.monotonic() - began > GROUP_S or place == GROUP - 1:
                return
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return

    def _alone(self, work: Work[Any]) -> Any:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except Exception as error:  # noqa: BLE001 - handed to the caller who owns the work
            return _Failed(_told(error))

    def _checkpoint(self) -> None:
        """Only this thread does it, in a pause: two connections at it have damaged files before SQLite 3.51.3."""
        self._dirty = False
        try:
            with self.engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (SQLAlchemyError, OSError):
            return  # the next commit tries again


def _guarded(connection: sa.Connection, work: Work[Any]) -> Any:
    """One of several works in a transaction. A refusal undoes only itself; an error of the database undoes all."""
    connection.exec_driver_sql("SAVEPOINT work")
    try:
        result = work(connection)
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - handed to the caller who owns the work
        connection.exec_driver_sql("ROLLBACK TO work")
        result = _Failed(error)
    connection.exec_driver_sql("RELEASE work")
    return result


def _settle(future: Future[Any], result: Any) -> None:
    if isinstance(result, _Failed):
        future.set_exception(result.error)
    else:
        future.set_result(result)


def _told(error: Exception) -> Exception:
    problem = problem_of(error)
    if problem is not error:
        problem.__cause__ = error
    return problem


class Transactions:
    """Writes to Postgres: what is in the way for a moment is tried once more, who waits for nothing is sent away."""

    def __init__(self, engine: sa.Engine, connections: int) -> None:
        self.engine = engine
        self.waiting = 0
        self._moved = 0.0
        self._pool = ThreadPoolExecutor(connections, "relumine-write")
        self._free = asyncio.Semaphore(connections)

    def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        """Run a work in the caller's thread; ``repeatable`` where running it again after its commit does no harm."""
        try:
            return self._try(work, repeatable=repeatable)
        except _InTheWay:
            pass
        try:
            return self._try(work, repeatable=repeatable)
        except _InTheWay as error:
            raise _told(error.cause) from error.cause

    def _try(self, work: Work[T], *, repeatable: bool) -> T:
        committing = False
        try:
            with self.engine.connect() as connection:
                with connection.begin() as transaction:
                    result = work(connection)
                    committing = True
                    transaction.commit()
                return result
        except DBAPIError as error:
            if is_passing(error) and (repeatable or not committing):
                raise _InTheWay(error) from error
            raise _told(error) from error
        except SQLAlchemyError as error:
            raise _told(error) from error

    async def write_soon(self, work: Work[T]) -> T:
        """``write`` of a repeatable work for a coroutine.

        Raises Busy where too many wait, StorageUnavailable where no connection came free for about a second.
        """
        if self.waiting >= WAITING:
            raise Busy
        self.waiting += 1
        try:
            await self._connection()
        finally:
            self.waiting -= 1
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, lambda: self.write(work, repeatable=True))
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    async def _connection(self) -> None:
        """Wait for a free connection as long as others come free: a queue that moves is no trouble."""
        while True:
            asked = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._free.acquire()
            except TimeoutError:
                if self._moved < asked:
                    raise StorageUnavailable("all connections to the database are in use") from None
            else:
                return

    def _done(self, _running: Any) -> None:
        self._moved = time.monotonic()
        self._free.release()

    def close(self) -> None:
        """Finish what runs."""
        self._pool.shutdown()
        self.engine.dispose()


class _InTheWay(Exception):
    def __init__(self, cause: DBAPIError) -> None:
        self.cause = cause
