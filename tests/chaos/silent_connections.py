"""A thousand connections of one address that send nothing or part of a head, while other clients upload as usual.

    python -m tests.chaos.silent_connections [--seconds 45]

Those that the server closes are opened again ten times a second. The other clients have the same address. Prints how
many connections were opened, the answers to probes, how much the server's memory grew at its peak, and the latency of
the other clients with and without the attack.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

import httpx

from tests.chaos import attack
from tests.chaos.payload_attacks import HEAD

CONNECTIONS = 1000
PROBE_PAUSE_S = 0.5
RENEWAL_PAUSE_S = 0.1  # the connections are as many as the server has places, so that each new one closes another
BEGINNINGS = (b"", b"GE", b"\r\n", HEAD)


class SilentConnections:
    """Connections that are opened again when the server closes them."""

    def __init__(self, port: int, answers: Counter[str]) -> None:
        self._port = port
        self._answers = answers
        self._selector = selectors.DefaultSelector()
        self._beginnings = itertools.cycle(BEGINNINGS)

    def run(self, stop: threading.Event) -> None:
        """Hold the connections until ``stop`` is set."""
        while not stop.is_set():
            while len(self._selector.get_map()) < CONNECTIONS:
                self._connect()
            time.sleep(RENEWAL_PAUSE_S)  # the rate of the attack
            for key, _ in self._selector.select(timeout=0):
                if isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                self._close(key.fileobj)

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.sendall(next(self._beginnings))
        connection.settimeout(0)
        self._selector.register(connection, selectors.EVENT_READ)
        self._answers["connections"] += 1

    def _read(self, connection: socket.socket) -> None:
        received = b""
        with suppress(OSError):
            received = connection.recv(4096)
        if not received:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


def hold_connections(port: int, seconds: float) -> Counter[str]:
    """Hold the connections, and send probes meanwhile."""
    answers: Counter[str] = Counter()
    stop = threading.Event()
    thread = threading.Thread(target=SilentConnections(port, answers).run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in ("/livez", "/readyz"):
            answers[f"{path} {httpx.get(f'http://127.0.0.1:{port}{path}', timeout=60).status_code}"] += 1
        time.sleep(PROBE_PAUSE_S)  # between two probes
    stop.set()
    thread.join()
    return answers


if __name__ == "__main__":
    attack.main(__doc__, hold_connections)
