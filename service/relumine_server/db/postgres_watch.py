"""The watch over a Postgres that does not answer: a frozen host or a lost network would hold every request for minutes.

A thread asks ``SELECT 1`` on a connection of its own, twice a second. Where there is no answer in time, and no other
statement gets one either, the database counts as away: the sockets of all connections are shut down, so that all
that wait get an error, and further requests are refused at once until a new connection answers.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog

from relumine_server.errors import StorageOutage

PERIOD_S = 0.5
ANSWER_S = 1.0
"""How long a Postgres that works may take for ``SELECT 1`` while it answers nothing else."""
POLL_S = 0.1
CONNECT_S = 2  # the smallest that libpq takes
STARVED_S = 0.5  # this process itself did not get to run: its clock says nothing about Postgres
TOO_MANY_CONNECTIONS = "53300"

_log = structlog.get_logger(__name__)


class PostgresWatch:
    """Watches one Postgres for the connections of some engines. Safe to use from many threads."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Prepare to watch; ``parameters`` are those of ``psycopg.connect``."""
        self._parameters = dict(parameters)
        self._connections: set[Any] = set()
        self._connecting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._answered_at = time.monotonic()
        self._is_away = False
        self._probe: psycopg.Connection[Any] | None = None
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relumine-postgres-watch", daemon=True)

    def attach(self, engine: sa.Engine) -> None:
        """Watch the connections of an engine, and refuse new ones while Postgres is away."""
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "connect", self._add)
        sa.event.listen(engine, "close", self._remove)
        sa.event.listen(engine, "close_detached", self._remove)
        sa.event.listen(engine, "after_cursor_execute", self._note_answer)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its connection."""
        self._stop_requested.set()
        self._thread.join(CONNECT_S + ANSWER_S + PERIOD_S)

    def require(self) -> None:
        """Raise StorageOutage while Postgres is away."""
        if self._is_away:
            raise StorageOutage("the database does not answer")

    def _connect(self, dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        """Return a new connection. Raises StorageOutage as soon as Postgres counts as away.

        A thread of its own connects: libpq waits for at least two seconds, and only the end of those ends its wait.
        """
        connecting: Future[Any] = Future()
        with self._lock:
            self.require()
            self._connecting.add(connecting)
        connect = partial(dialect.connect, *arguments, **parameters)
        threading.Thread(target=_connect_into, args=(connecting, connect), daemon=True).start()
        try:
            return connecting.result()
        finally:
            with self._lock:
                self._connecting.discard(connecting)

    def _add(self, connection: Any, _record: Any) -> None:
        with self._lock:
            self._connections.add(connection)

    def _remove(self, connection: Any, *_record: Any) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _note_answer(self, *_arguments: Any) -> None:
        self._answered_at = time.monotonic()

    def _run(self) -> None:
        while not self._stop_requested.wait(PERIOD_S):
            try:
                is_alive = self._is_alive()
            except Exception:  # noqa: BLE001 - logged; without this thread nothing would be noticed any more
                _log.exception("the database could not be watched; it is asked again")
                continue
            if is_alive == self._is_away:
                self._change(is_away=not is_alive)
        self._drop_probe()

    def _change(self, *, is_away: bool) -> None:
        with self._lock:
            self._is_away = is_away
            connections = list(self._connections)
            connecting = list(self._connecting) if is_away else []
        for future in connecting:
            _settle(future, error=StorageOutage("the database does not answer"))
        if is_away:
            _log.error("the database does not answer", connections=len(connections))
            for connection in connections:
                _shut_down(connection)
        else:
            _log.warning("the database answers again")

    def _is_alive(self) -> bool:
        """Return True if Postgres answers. A connection that was lost says nothing: a new one is asked instead."""
        if self._probe is not None:
            try:
                if self._answers_in_time(self._probe):
                    return True
            except psycopg.Error:
                self._drop_probe()
            else:
                self._drop_probe()
                return False
        return self._answers_anew()

    def _answers_anew(self) -> bool:
        """Return True if Postgres answers on a new connection, or has so many that it takes no more."""
        try:
            self._probe = psycopg.connect(**{**self._parameters, "autocommit": True, "connect_timeout": CONNECT_S})
            return self._answers_in_time(self._probe)
        except psycopg.Error as error:
            self._drop_probe()
            return error.sqlstate == TOO_MANY_CONNECTIONS or "too many" in str(error)

    def _answers_in_time(self, probe: psycopg.Connection[Any]) -> bool:
        """Ask, and wait for the answer as long as other statements are answered: Postgres may just be slow.

        Raises psycopg.Error where the connection is lost.
        """
        pgconn = probe.pgconn
        pgconn.send_query(b"SELECT 1")
        pgconn.flush()
        silent_since = time.monotonic()
        while True:
            polled_at = time.monotonic()
            readable = _has_input(pgconn.socket, POLL_S)
            if readable:
                pgconn.consume_input()
                if not pgconn.is_busy():
                    break
            now = time.monotonic()
            is_starved = now - polled_at > POLL_S + STARVED_S
            silent_since = now if readable or is_starved else max(silent_since, self._answered_at)
            if self._stop_requested.is_set() or now - silent_since >= ANSWER_S:
                return False
        while (result := pgconn.get_result()) is not None:
            if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                raise psycopg.OperationalError("the connection was terminated")
        return True

    def _drop_probe(self) -> None:
        if self._probe is not None:
            _shut_down(self._probe)
            self._probe.close()
        self._probe = None


def _has_input(file: int, within_s: float) -> bool:
    """Wait for something to read, a lost connection included; return False if there was nothing.

    Not by ``select``, which takes no file beyond 1,023: a server may have thousands of connections.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        return bool(selector.select(within_s))


def _connect_into(future: Future[Any], connect: Callable[[], Any]) -> None:
    """Connect, and close the connection at once where no thread waits for it any more."""
    try:
        connection = connect()
    except Exception as error:  # noqa: BLE001 - raised where the connection is waited for
        _settle(future, error=error)
        return
    if not _settle(future, result=connection):
        connection.close()


def _settle(future: Future[Any], *, result: Any = None, error: Exception | None = None) -> bool:
    """Give a future its outcome; return False if it has one."""
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    except InvalidStateError:
        return False
    return True


def _shut_down(connection: Any) -> None:
    """Shut down the socket of a connection, so that a thread that waits for its answer gets an error."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)
