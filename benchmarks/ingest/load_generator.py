"""A load generator in its own process: many connections, each sending its next request when the last is answered.

It is cheap on purpose (one thread, prepared bodies, no HTTP library), because it shares the machine with what is
measured.
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

RequestBody: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""Return the parts of the body of a request, by connection and number of the request (both from 0)."""

RETRY_DELAY_S = 0.05
TIMEOUT_S = 120
MAX_IDLE_S = 2.0
"""A connection that was idle for longer is replaced: the server closes idle connections after five seconds."""
REFUSED = (429, 503)


class Target(NamedTuple):
    """The receiver of requests, and the status that each answer must have."""

    ports: Sequence[int]
    path: str
    status: int
    headers: str = ""


class Load(NamedTuple):
    """The outcome of a window of load. ``refused`` requests were sent again until they were accepted."""

    requests: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    refused: int


class Generator:
    """Connections that are warmed up and wait."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def run(self, seconds: float) -> Load:
        """Send for so long and until the last answer has come."""
        self._pipe.send(seconds)
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return Load(*result)


@contextmanager
def generator(
    target: Target, connections: int, warm_up: Callable[[int], int], body: RequestBody
) -> Iterator[Generator]:
    """Start a process with so many connections, of which the n-th has sent ``warm_up(n)`` requests."""
    parent_end, child_end = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(child_end, target, connections, warm_up, body), daemon=True
    )
    process.start()
    child_end.close()
    try:
        ready = parent_end.recv()
        if isinstance(ready, Exception):
            raise ready
        yield Generator(parent_end)
    finally:
        parent_end.close()
        process.join(10)
        process.kill()


def _work(pipe: Pipe, target: Target, connections: int, warm_up: Callable[[int], int], body: RequestBody) -> None:
    try:
        clients = [_Client(target, index, body) for index in range(connections)]
        _drive(clients, lambda client: client.number < warm_up(client.index))
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
    start = time.monotonic()
    _drive(clients, lambda _: time.monotonic() - start < seconds)
    wall_s = time.monotonic() - start
    latencies = sorted(latency for client in clients for latency in client.latencies)
    p99_s = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
    refused = sum(client.refused for client in clients)
    return Load(len(latencies), wall_s, 1e3 * statistics.median(latencies), 1e3 * p99_s, refused)


def _drive(clients: list[_Client], continues: Callable[[_Client], bool]) -> None:
    """Let every client send while it continues, and wait for the last answers."""
    with selectors.DefaultSelector() as selector:
        waiting = [client for client in clients if continues(client)]
        active = len(waiting)
        while active:
            now = time.monotonic()
            for client in [client for client in waiting if client.retry_at <= now]:
                waiting.remove(client)
                client.prepare()
                selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
            ready = selector.select(RETRY_DELAY_S if waiting else TIMEOUT_S)
            if not ready and not waiting:
                raise TimeoutError("no answer")
            for key, events in ready:
                client = key.data
                if events & selectors.EVENT_WRITE and client.send():
                    selector.modify(client.socket, selectors.EVENT_READ, client)
                if events & selectors.EVENT_READ and client.receive():
                    selector.unregister(client.socket)
                    if client.retry_at or continues(client):
                        waiting.append(client)
                    else:
                        active -= 1


class _Client:
    """One connection that stays open."""

    def __init__(self, target: Target, index: int, body: RequestBody) -> None:
        self.index = index
        self.number = 0
        self.refused = 0
        self.retry_at = 0.0
        self.latencies: list[float] = []
        self._target = target
        self._body = body
        self._unsent: list[memoryview] = []
        self._answer = b""
        self._sent_at = 0.0
        self._answered_at = time.monotonic()
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        port = self._target.ports[self.index % len(self._target.ports)]
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0)
        return connection

    def _is_closed(self) -> bool:
        """Return whether the server closed a connection that was idle for long."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def prepare(self) -> None:
        """Prepare the next request."""
        if self._is_closed() or time.monotonic() - self._answered_at > MAX_IDLE_S:
            self.socket.close()
            self.socket = self._connect()
        parts = self._body(self.index, self.number)
        size = sum(map(len, parts))
        head = f"POST {self._target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"{self._target.headers}Content-Length: {size}\r\n\r\n"
        self._unsent = [memoryview(part) for part in (head.encode(), *parts)]
        if not self.retry_at:
            self._sent_at = time.monotonic()
        self._answer = b""
        self.retry_at = 0.0

    def send(self) -> bool:
        """Send as much as the socket accepts; return whether everything is sent."""
        try:
            sent = self.socket.sendmsg(self._unsent)
        except BlockingIOError:
            return False
        while self._unsent and sent >= len(self._unsent[0]):
            sent -= len(self._unsent.pop(0))
        if sent:
            self._unsent[0] = self._unsent[0][sent:]
        return not self._unsent

    def receive(self) -> bool:
        """Read from the socket; return whether the answer is complete. Raises RuntimeError for an unexpected one."""
        piece = self.socket.recv(65_536)
        if not piece:
            raise RuntimeError("the server closed the connection")
        self._answered_at = time.monotonic()
        self._answer += piece
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return False
        status = int(head[9:12])
        if self._unsent:
            raise RuntimeError(f"answered {status} before the request was sent")
        if status in REFUSED:
            self.refused += 1
            self.retry_at = time.monotonic() + RETRY_DELAY_S
        elif status == self._target.status:
            self.latencies.append(time.monotonic() - self._sent_at)
            self.number += 1
        else:
            raise RuntimeError(f"answered {status}: {body[:500]!r}")
        return True


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError(f"an answer without a length: {head[:500]!r}")
