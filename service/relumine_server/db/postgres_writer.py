"""Writes to Postgres: a transaction each, in one of a few threads."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from relumine_server.db.dialect import CONNECTION_TIMEOUT_S, MAX_WAITING, T, WriteFn
from relumine_server.db.errors import code_of, is_transient, problem_from
from relumine_server.db.prepared_statements import PreparedStatements
from relumine_server.errors import Busy, StorageUnavailable

if TYPE_CHECKING:
    from relumine_server.db.postgres_watch import PostgresWatch


class PostgresWriter:
    """Runs write functions in transactions, and once more after a transient error.

    A caller is refused when too many wait, or when no connection becomes free.
    """

    def __init__(self, engine: sa.Engine, connections: int, watch: PostgresWatch, prepared: PreparedStatements) -> None:
        self.engine = engine
        self._watch = watch
        self._prepared = prepared
        self.waiting = 0
        self._last_release = 0.0
        self._pool = ThreadPoolExecutor(connections, "relumine-write")
        self._free_connections = asyncio.Semaphore(connections)

    def write(self, fn: WriteFn[T]) -> T:
        """Run a write function in this thread; when this returns it is committed."""
        self._watch.require()
        return self._write(fn, repeatable=False)

    async def write_soon(self, fn: WriteFn[T]) -> T:
        """Run a write function that may run again after its commit, without blocking the event loop.

        Raises Busy where too many wait, StorageUnavailable where no connection became free for about a second.
        """
        self._watch.require()
        if self.waiting >= MAX_WAITING:
            raise Busy
        self.waiting += 1
        try:
            await self._acquire_connection()
        finally:
            self.waiting -= 1
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, lambda: self._write(fn, repeatable=True))
        running.add_done_callback(self._release_connection)
        return await asyncio.shield(running)

    def note_error(self, error: DBAPIError) -> None:
        """Learn from an error of a statement."""
        self._prepared.note(code_of(error))

    def require_reachable(self) -> None:
        """Raise StorageOutage while Postgres does not answer."""
        self._watch.require()

    def require_writable(self) -> None:
        """Raise StorageOutage while Postgres does not answer; whether it takes writes is known only by asking."""
        self._watch.require()

    def close(self) -> None:
        """Finish the writes in flight and close all connections."""
        self._pool.shutdown()
        self._watch.stop()
        self.engine.dispose()

    def _write(self, fn: WriteFn[T], *, repeatable: bool) -> T:
        """Run a write function, a second time after a transient error.

        An error during the commit may mean that it was committed: then only a ``repeatable`` function runs again.
        """
        try:
            return self._run(fn, repeatable=repeatable)
        except _TransientError:
            pass
        try:
            return self._run(fn, repeatable=repeatable)
        except _TransientError as error:
            raise problem_from(error.cause) from error.cause

    def _run(self, fn: WriteFn[T], *, repeatable: bool) -> T:
        is_committing = False
        try:
            with self.engine.connect() as connection:
                with connection.begin() as transaction:
                    result = fn(connection)
                    is_committing = True
                    transaction.commit()
                return result
        except DBAPIError as error:
            self.note_error(error)
            if is_transient(error) and (repeatable or not is_committing):
                raise _TransientError(error) from error
            raise problem_from(error) from error
        except SQLAlchemyError as error:
            raise problem_from(error) from error

    async def _acquire_connection(self) -> None:
        """Wait for a free connection as long as others become free: a queue that moves is no failure."""
        while True:
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(CONNECTION_TIMEOUT_S):
                    await self._free_connections.acquire()
            except TimeoutError:
                if self._last_release < asked_at:
                    raise StorageUnavailable("all connections to the database are in use") from None
            else:
                return

    def _release_connection(self, _running: Any) -> None:
        self._last_release = time.monotonic()
        self._free_connections.release()


class _TransientError(Exception):
    def __init__(self, cause: DBAPIError) -> None:
        self.cause = cause
