"""The database: one entry point for reading, one for writing.

A write that returned is committed. A write function may run twice, the second time after everything of the first run
was undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from relumine_server.db import sqlite_files
from relumine_server.db.dialect import CONNECTION_TIMEOUT_S, WriteFn
from relumine_server.db.errors import problem_of
from relumine_server.db.postgres_writer import PostgresWriter
from relumine_server.db.prepared_statements import PreparedStatements
from relumine_server.db.sqlite_files import OpenFiles
from relumine_server.db.sqlite_log import WriteAheadLog
from relumine_server.db.sqlite_writer import LOG_IDENTITY, SqliteWriter
from relumine_server.db.types import from_json, to_json
from relumine_server.errors import ProblemError, StorageFull, StorageOutage, UnknownDatabaseError

if TYPE_CHECKING:
    from relumine_server.db.postgres_watch import PostgresWatch

T = TypeVar("T")

DEFAULT_FILE = "relumine.db"

POSTGRES_WRITERS = 8
POSTGRES_READERS = 4
"""Connections of one process. More write than ever compute at once: some wait for a run that is locked."""

SQLITE_READERS = 8  # connections
READ_CACHE_BYTES = 4 * 2**20
WRITE_CACHE_BYTES = 8 * 2**20
"""Pages that a connection caches. Larger caches made nothing faster: the system caches the file, too."""

BUSY_TIMEOUT_MS = 5_000
CONNECT_TIMEOUT_S = 2  # to Postgres; the smallest that libpq takes
POOL_TIMEOUT_S = 5  # how long a reader of SQLite waits for a connection
MAX_WAL_BYTES = 64 * 2**20  # a WAL that a long reader made larger is cut back to this
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "foreign_keys=ON",
    f"journal_size_limit={MAX_WAL_BYTES}",
    # Debian's SQLite overwrites deleted rows with zeros: thinning would cost six times as much.
    "secure_delete=FAST",
    # The writer copies the log into the file itself, once it has seen that the log is whole.
    "wal_autocheckpoint=0",
)
POSTGRES_SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}

PLAIN_OPTIONS = frozenset(
    {"host", "hostaddr", "port", "dbname", "sslmode", "application_name", "connect_timeout", "mode"}
)
"""Options of a URL that hold no secret. Postgres takes a password as an option, too."""


class Database:
    """An open database. It may be shared between threads."""

    def __init__(self, engine: sa.Engine, writer: SqliteWriter | PostgresWriter, locks: Sequence[IO[Any]] = ()) -> None:
        self.engine = engine
        self._writer = writer
        self._locks = locks
        self.outages = 0
        """How often the database was found to be away or full. Some calls of threads may count as one."""

    @classmethod
    def open(cls, database_url: str) -> Database:
        """Open the database.

        Raises FileInUseError if another process serves the same SQLite file, UnknownDatabaseError for any other kind.
        """
        url = parse_url(database_url)
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or DEFAULT_FILE)
            locks = sqlite_files.open_exclusively(path)
            files = OpenFiles(path)
            log = WriteAheadLog(path)
            writing = _sqlite_engine(url, files, log, "BEGIN IMMEDIATE", WRITE_CACHE_BYTES)
            reading = _sqlite_engine(url, files, log, "BEGIN", READ_CACHE_BYTES)
            return cls(reading, SqliteWriter(writing, files, log), locks)
        readers = _postgres_engine(url, POSTGRES_READERS, ping=True)
        writers = _postgres_engine(url, POSTGRES_WRITERS, ping=False)
        watch = _postgres_watch(readers)
        prepared = PreparedStatements()
        for engine in (readers, writers):
            watch.attach(engine)
            prepared.attach(engine)
        watch.start()
        return cls(readers, PostgresWriter(writers, POSTGRES_WRITERS, watch, prepared))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads, in one consistent snapshot. Raises NotReady, StorageUnavailable."""
        try:
            self._writer.require_reachable()
            connection = self.engine.connect()
            if connection.dialect.name == "postgresql":  # by default each statement would see a snapshot of its own
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
        except StorageOutage as error:
            raise self._noted(error)  # noqa: B904 - the same error
        except SQLAlchemyError as error:
            raise self._noted(problem_of(error, reading=True)) from error
        try:
            with connection:  # its end, a rollback, fails too where the connection was lost meanwhile
                yield connection
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError):
                self._writer.note_error(error)
            raise self._noted(problem_of(error, reading=True)) from error

    def write(self, fn: WriteFn[T]) -> T:
        """Run ``fn`` in a transaction; when this returns it is committed.

        Raises what ``fn`` raises, or Busy, StorageFull, StorageUnavailable.
        """
        try:
            return self._writer.write(fn)
        except ProblemError as error:
            raise self._noted(error)  # noqa: B904 - the same error

    async def write_soon(self, fn: WriteFn[T]) -> T:
        """Run ``fn`` as ``write`` does, without blocking the event loop; it must do no harm when it is run twice."""
        try:
            return await self._writer.write_soon(fn)
        except ProblemError as error:
            raise self._noted(error)  # noqa: B904 - the same error

    def _noted(self, error: Exception) -> Exception:
        """Return an error, counted if it means that the database is away."""
        if isinstance(error, StorageOutage | StorageFull):
            self.outages += 1
        return error

    @property
    def writing_engine(self) -> sa.Engine:
        """The engine that migrations use."""
        return self._writer.engine

    @property
    def is_exclusive(self) -> bool:
        """True if no other process can have this database open for writing."""
        return bool(self._locks)

    @property
    def waiting(self) -> int:
        """Write functions that wait for their transaction."""
        return self._writer.waiting

    def require_writable(self) -> None:
        """Raise StorageUnavailable where it is known without asking that nothing can be written."""
        self._writer.require_writable()

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; None for Postgres."""
        url = self.engine.url
        return Path(url.database or DEFAULT_FILE).absolute() if url.get_backend_name() == "sqlite" else None

    def close(self) -> None:
        """Finish the waiting writes, close every connection, and release the file."""
        self._writer.close()
        self.engine.dispose()
        for lock in self._locks:
            lock.close()


def _readable_text(data: bytes) -> str:
    """Return text of SQLite. Damaged text would make a whole query fail."""
    return data.decode(errors="replace")


def parse_url(database_url: str) -> sa.URL:
    """Return the URL of a supported database, for Postgres with psycopg 3 as driver. Raises UnknownDatabaseError."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        raise UnknownDatabaseError("RELUMINE_DATABASE_URL is not a database URL") from None
    kind = url.drivername.split("+")[0]
    if kind not in ("sqlite", "postgresql", "postgres"):
        raise UnknownDatabaseError(f"{kind} is not supported: sqlite:///file or postgresql://user:password@host/name")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise UnknownDatabaseError("RELUMINE_DATABASE_URL names no file: sqlite:///relumine.db")
    return url.set(drivername="sqlite" if kind == "sqlite" else "postgresql+psycopg")


def without_password(database_url: str) -> str:
    """Return a database URL with its password masked, and so are options that may hold one."""
    url = parse_url(database_url)
    options = {name: value if name.lower() in PLAIN_OPTIONS else "masked" for name, value in url.query.items()}
    return url.set(query=options).render_as_string(hide_password=True)


def _postgres_watch(engine: sa.Engine) -> PostgresWatch:
    from relumine_server.db.postgres_watch import PostgresWatch  # noqa: PLC0415 - its driver is an optional extra

    _, parameters = engine.dialect.create_connect_args(engine.url)
    return PostgresWatch(parameters)


def _postgres_engine(url: sa.URL, connections: int, *, ping: bool) -> sa.Engine:
    """Return an engine with a pool of connections. Without ``ping`` a lost connection is noticed by its next user."""
    engine = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECTION_TIMEOUT_S,
        pool_pre_ping=ping,
        json_serializer=to_json,
        json_deserializer=from_json,
        hide_parameters=True,  # values stay out of error messages, and so out of the log
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name, value in POSTGRES_SESSION.items():
                cursor.execute(f"SET {name} = '{value}'")
        connection.commit()

    return engine


def _sqlite_engine(url: sa.URL, files: OpenFiles, log: WriteAheadLog, begin: str, cache_bytes: int) -> sa.Engine:
    """Return an engine whose transactions start with ``begin``: the driver's own would start late and deferred."""
    engine = sa.create_engine(
        url,
        pool_size=SQLITE_READERS,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        json_serializer=to_json,
        json_deserializer=from_json,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "do_connect")
    def require_file(*_arguments: Any) -> None:
        files.require()  # SQLite would create an empty file where the database was moved away

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.text_factory = _readable_text
        for pragma in (*SQLITE_PRAGMAS, f"cache_size=-{cache_bytes // 1024}"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # opens the write-ahead log
        record.info[LOG_IDENTITY] = log.opened()

    @sa.event.listens_for(engine, "begin")
    def open_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
