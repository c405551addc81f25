"""A TCP relay: one address, whatever is behind it. What it leads to may change, refuse, or say nothing any more."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path

POLL_S = 0.05
PART = 2**16


class TcpRelay:
    """Relays connections to ``target``, a Unix socket, until ``cut`` or ``silence``; ``switch`` leads new ones on."""

    def __init__(self, target: Path) -> None:
        self._target: Path | None = target
        self._is_silent = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._silent: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close all connections, and every new one at once: the host answers that the port is closed."""
        with self._lock:
            self._target = None
            for connection in list(self._pairs):
                self._close(connection)

    def silence(self) -> None:
        """Pass on nothing any more, not even the end of a connection: the host is gone."""
        with self._lock:
            self._target = None
            self._is_silent = True
            for connection in list(self._pairs):
                self._selector.unregister(connection)
                self._silent.append(connection)
            self._pairs.clear()

    def switch(self, target: Path) -> None:
        """Lead new connections to another server. Those that were silenced stay so."""
        with self._lock:
            self._target = target
            self._is_silent = False

    def close(self) -> None:
        """End the relay and every connection."""
        self._stop_requested.set()
        self._thread.join()
        self.cut()
        for connection in (self._listener, *self._silent):
            connection.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop_requested.is_set():
            events = self._selector.select(POLL_S)
            with self._lock:
                for key, _ in events:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._is_silent:
            self._silent.append(client)
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            if self._target is None:
                raise ConnectionRefusedError
            server.connect(str(self._target))
        except OSError:
            client.close()
            server.close()
            return
        for connection, other in ((client, server), (server, client)):
            self._pairs[connection] = other
            self._selector.register(connection, selectors.EVENT_READ)

    def _pass_on(self, connection: socket.socket) -> None:
        try:
            part = connection.recv(PART)
            if part:
                self._pairs[connection].sendall(part)
        except OSError:
            part = b""
        if not part:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        other = self._pairs.pop(connection, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for end in (connection, other):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
