"""The two doors to the database: ``read`` and ``write``. They are opened inside a handler, never as a dependency.

A write that returned is committed. A work may be run twice, the second time after everything of the first was undone.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from relumine_server.errors import FileInUse, UnknownDatabase
from relumine_server.storage.columns import dumped
from relumine_server.storage.troubles import problem_of
from relumine_server.storage.writer import PATIENCE_S, Transactions, Work, Writer

T = TypeVar("T")

WRITERS, READERS = 8, 4
"""Connections of one process to Postgres. More write than ever compute at once: some wait for a run that is locked."""

READING = 8  # connections that read from SQLite
READ_CACHE, WRITE_CACHE = 16 * 2**20, 64 * 2**20
"""Bytes of pages that a connection keeps: a long series several times over, the largest group of uploads."""

BUSY_TIMEOUT_MS = 5_000
WAL_KEPT = 64 * 2**20  # bytes; a WAL that a long reader made large is cut back to this
POSTGRES_SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}


class Store:
    """An open database."""

    def __init__(self, engine: sa.Engine, writes: Writer | Transactions, lock: IO[str] | None) -> None:
        self.engine = engine
        self._writes = writes
        self._lock = lock

    @classmethod
    def open(cls, database_url: str) -> Store:
        """Open the database.

        Raises FileInUse where another process serves the same SQLite file, UnknownDatabase for any other kind.
        """
        url = address(database_url)
        if url.get_backend_name() != "sqlite":
            return cls(
                _postgres(url, READERS, ping=True), Transactions(_postgres(url, WRITERS, ping=False), WRITERS), None
            )
        lock = _lock_file(Path(url.database or "relumine.db"))
        return cls(_sqlite(url, "BEGIN", READ_CACHE), Writer(_sqlite(url, "BEGIN IMMEDIATE", WRITE_CACHE)), lock)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: one consistent view. Raises NotReady, StorageUnavailable."""
        try:
            connection = self.engine.connect()
            if connection.dialect.name == "postgresql":  # its default shows each statement another state
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
        except SQLAlchemyError as error:
            raise problem_of(error, reading=True) from error
        with connection:
            try:
                yield connection
            except SQLAlchemyError as error:
                raise problem_of(error, reading=True) from error

    def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction; when this returns it is committed.

        Raises what ``work`` raises, or Busy, StorageFull, StorageUnavailable.
        """
        return self._writes.write(work)

    async def write_soon(self, work: Work[T]) -> T:
        """``write`` for a coroutine, of a work that does no harm when it is done twice."""
        return await self._writes.write_soon(work)

    @property
    def writing_engine(self) -> sa.Engine:
        """The engine that migrations use."""
        return self._writes.engine

    @property
    def is_exclusive(self) -> bool:
        """Whether no other process can have this database open for writing."""
        return self._lock is not None

    @property
    def waiting(self) -> int:
        """Works that wait to be written."""
        return self._writes.waiting

    @property
    def file(self) -> Path | None:
        """The file of SQLite; Postgres keeps its own."""
        url = self.engine.url
        return Path(url.database or "relumine.db").absolute() if url.get_backend_name() == "sqlite" else None

    def close(self) -> None:
        """Finish what waits, close every connection, give the file free."""
        self._writes.close()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()


def address(database_url: str) -> sa.URL:
    """The address of a database we speak to; however Postgres is spelled, the driver is psycopg 3.

    Raises UnknownDatabase.
    """
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # the latter where a port is no number
        raise UnknownDatabase("RELUMINE_DATABASE_URL is no address of a database") from None
    kind = url.drivername.split("+")[0]
    if kind not in ("sqlite", "postgresql", "postgres"):
        raise UnknownDatabase(f"{kind} is not supported: sqlite:///file or postgresql://user:password@host/name")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise UnknownDatabase("RELUMINE_DATABASE_URL names no file: sqlite:///relumine.db")
    return url.set(drivername="sqlite" if kind == "sqlite" else "postgresql+psycopg")


def _postgres(url: sa.URL, connections: int, *, ping: bool) -> sa.Engine:
    """An engine of so many connections; without ``ping`` a lost one is noticed by who uses it next."""
    engine = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=PATIENCE_S,
        pool_pre_ping=ping,
        json_serializer=dumped,
        hide_parameters=True,  # values stay out of error messages, and so out of the log
        connect_args={"connect_timeout": 5},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name, value in POSTGRES_SESSION.items():
                cursor.execute(f"SET {name} = '{value}'")
        connection.commit()

    return engine


def _sqlite(url: sa.URL, begin: str, cache: int) -> sa.Engine:
    """An engine whose transactions begin as told: sqlite3's own would begin too late and deferred."""
    engine = sa.create_engine(
        url,
        pool_size=READING,
        max_overflow=0,
        pool_timeout=5,
        json_serializer=dumped,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        settings = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON")
        # Debian's SQLite overwrites what is deleted with zeros: thinning would cost six times as much.
        more = (f"journal_size_limit={WAL_KEPT}", f"cache_size=-{cache // 1024}", "secure_delete=FAST")
        for pragma in (*settings, *more):
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
