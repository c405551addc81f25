"""A load generator in a process of its own: many connections, each sending its next request when the last is answered.

It is cheap on purpose (one thread, prepared bodies, no HTTP library): it shares the machine with what is measured.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple, TypeAlias

Request: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""The parts of the body that a connection (counted from 0) sends as its request of this number."""

PAUSE_S = 0.05  # before a request that was refused is sent again
STUCK_S = 120
STALE_S = 2.0  # a server gives up idle connections after five seconds: not while the next request is on its way
REFUSED = (429, 503)


class Target(NamedTuple):
    """Where requests go, and what the answer to each must be."""

    ports: Sequence[int]
    path: str
    status: int
    headers: str = ""


class Load(NamedTuple):
    """What a window of load came to. ``refused`` requests were sent again until they were taken."""

    requests: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    refused: int


class Generator:
    """Connections that were warmed up and wait."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def run(self, seconds: float) -> Load:
        """Send for so long, until the last answer is there."""
        self._pipe.send(seconds)
        found = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return Load(*found)


@contextmanager
def generator(target: Target, connections: int, warm: Callable[[int], int], request: Request) -> Iterator[Generator]:
    """A process with so many connections, the n-th of which has sent ``warm(n)`` requests."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(theirs, target, connections, warm, request), daemon=True
    )
    process.start()
    theirs.close()
    try:
        ready = ours.recv()
        if isinstance(ready, Exception):
            raise ready
        yield Generator(ours)
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _work(pipe: Pipe, target: Target, connections: int, warm: Callable[[int], int], request: Request) -> None:
    try:
        clients = [_Client(target, n, request) for n in range(connections)]
        _drive(clients, lambda client: client.number < warm(client.place))
        pipe.send(None)
        while True:
            try:
                seconds = pipe.recv()
            except EOFError:
                return
            pipe.send(_window(clients, seconds))
    except Exception as error:  # noqa: BLE001 - raised in the process that asked
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _window(clients: list[_Client], seconds: float) -> Load:
    for client in clients:
        client.latencies.clear()
        client.refused = 0
    began = time.monotonic()
    _drive(clients, lambda _: time.monotonic() - began < seconds)
    wall = time.monotonic() - began
    taken = sorted(one for client in clients for one in client.latencies)
    late = taken[min(len(taken) - 1, int(0.99 * len(taken)))]
    refused = sum(client.refused for client in clients)
    return Load(len(taken), wall, 1e3 * statistics.median(taken), 1e3 * late, refused)


def _drive(clients: list[_Client], goes_on: Callable[[_Client], bool]) -> None:
    """Let every client send as long as it goes on, and wait for the last answers."""
    with selectors.DefaultSelector() as selector:
        waiting = [client for client in clients if goes_on(client)]
        busy = len(waiting)
        while busy:
            now = time.monotonic()
            for client in [client for client in waiting if client.rests_until <= now]:
                waiting.remove(client)
                client.begin()
                selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
            found = selector.select(PAUSE_S if waiting else STUCK_S)
            if not found and not waiting:
                raise TimeoutError("no answer")
            for key, events in found:
                client = key.data
                if events & selectors.EVENT_WRITE and client.send():
                    selector.modify(client.socket, selectors.EVENT_READ, client)
                if events & selectors.EVENT_READ and client.receive():
                    selector.unregister(client.socket)
                    again = bool(client.rests_until) or goes_on(client)
                    waiting += [client] if again else []
                    busy -= not again


class _Client:
    """One connection that stays open."""

    def __init__(self, target: Target, place: int, request: Request) -> None:
        self.place, self.number = place, 0
        self.refused = 0
        self.rests_until = 0.0
        self.latencies: list[float] = []
        self._target, self._request = target, request
        self._out: list[memoryview] = []
        self._answer = b""
        self._began = 0.0
        self._heard = time.monotonic()
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        port = self._target.ports[self.place % len(self._target.ports)]
        made = socket.create_connection(("127.0.0.1", port), timeout=30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(0)
        return made

    def _is_closed(self) -> bool:
        """Whether the server gave up a connection that was idle for long."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def begin(self) -> None:
        """Make the next request ready."""
        if self._is_closed() or time.monotonic() - self._heard > STALE_S:
            self.socket.close()
            self.socket = self._connect()
        parts = self._request(self.place, self.number)
        size = sum(map(len, parts))
        head = f"POST {self._target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"{self._target.headers}Content-Length: {size}\r\n\r\n"
        self._out = [memoryview(part) for part in (head.encode(), *parts)]
        self._began = self._began if self.rests_until else time.monotonic()
        self._answer, self.rests_until = b"", 0.0

    def send(self) -> bool:
        """Send what the socket takes; whether that was all."""
        try:
            sent = self.socket.sendmsg(self._out)
        except BlockingIOError:
            return False
        while self._out and sent >= len(self._out[0]):
            sent -= len(self._out.pop(0))
        if sent:
            self._out[0] = self._out[0][sent:]
        return not self._out

    def receive(self) -> bool:
        """Read what is there; whether the answer is whole. Raises RuntimeError for one that should not be."""
        more = self.socket.recv(65_536)
        if not more:
            raise RuntimeError("the server closed the connection")
        self._heard = time.monotonic()
        self._answer += more
        head, gap, body = self._answer.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return False
        status = int(head[9:12])
        if self._out:
            raise RuntimeError(f"answered {status} before all was sent")
        if status in REFUSED:
            self.refused += 1
            self.rests_until = time.monotonic() + PAUSE_S
        elif status == self._target.status:
            self.latencies.append(time.monotonic() - self._began)
            self.number += 1
        else:
            raise RuntimeError(f"answered {status}: {body[:500]!r}")
        return True


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError(f"an answer without a length: {head[:500]!r}")
