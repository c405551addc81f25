"""One signed POST to a receiver, and what came of it. Never raises for what a receiver or the network does.

The address is judged right before connecting, and the connection goes to the very address that was judged:
a name that changes its answer between the two leads nowhere. No redirects, no proxies from the environment,
one deadline for the whole attempt however slowly a resolver or a receiver drips, and no more read of an answer
than is kept, as it comes: nothing is unpacked.

Built on httpcore, the engine of httpx: httpx itself takes no network backend, and logs whole URLs.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Any, TypeAlias

import httpcore
import httpx

from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.retry import Outcome
from relumine_server.webhooks.targets import RefusedError, Target, read_target, refusal

MAX_ANSWER_BYTES = 1024
_PIECE_BYTES = 4096
_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": "Relumine-Webhooks/1",
}

Resolve: TypeAlias = Callable[[str, int], list[str]]


def system_addresses(host: str, port: int) -> list[str]:
    """The addresses of a host as this machine resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """Makes attempts; holds no connection between them."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        timeout_s: float,
        resolve: Resolve = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._given_context = ssl_context

    def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """Try once."""
        started = time.monotonic()
        status, error, answer, retry_after = None, None, None, None
        try:
            target = read_target(url, self._allowed)
            with self._pool(target, started) as pool, self._request(pool, target, headers, body) as got:
                status, retry_after = got.status, _header(got, b"retry-after")
                answer = _beginning(got)
        except Exception as problem:  # noqa: BLE001 - whatever a receiver provokes is the outcome of the attempt
            error = _said(problem, self._timeout_s)
        duration_ms = round((time.monotonic() - started) * 1000)
        return Outcome(status, duration_ms, error=error, answer=answer, retry_after=retry_after)

    def _pool(self, target: Target, started: float) -> httpcore.ConnectionPool:
        backend = _JudgingBackend(target, self._judged, deadline=started + self._timeout_s)
        return httpcore.ConnectionPool(
            ssl_context=self._ssl_context, max_keepalive_connections=0, network_backend=backend
        )

    def _request(
        self, pool: httpcore.ConnectionPool, target: Target, headers: Mapping[str, str], body: str
    ) -> AbstractContextManager[httpcore.Response]:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        sent: list[tuple[bytes | str, bytes | str]] = [("host", target.authority), *_HEADERS.items(), *headers.items()]
        return pool.stream("POST", url, headers=sent, content=body.encode(), extensions={"timeout": timeouts})

    def _judged(self, target: Target, left_s: float) -> list[str]:
        addresses = _resolved(self._resolve, target, left_s)
        problem = refusal(target, addresses, self._allowed)
        if problem:
            raise RefusedError(problem)
        return addresses

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_context or httpx.create_ssl_context(trust_env=False)


class _JudgingBackend(httpcore.SyncBackend):
    """Resolves, judges, and connects to the address that was judged; all within one deadline."""

    def __init__(self, target: Target, judged: Callable[[Target, float], list[str]], *, deadline: float) -> None:
        super().__init__()
        self._target = target
        self._judged = judged
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        failure: Exception = httpcore.ConnectError("no address")
        target = self._target._replace(host=host, port=port)
        for address in self._judged(target, _left(self._deadline, timeout)):
            left_s = _left(self._deadline, timeout)
            try:
                stream = super().connect_tcp(address, port, left_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise failure


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which every wait ends at one deadline, so that dripping gains a receiver nothing."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write piece by piece: a receiver that takes them one by one must not begin a new wait with each."""
        for start in range(0, len(buffer), _PIECE_BYTES):
            self._stream.write(buffer[start : start + _PIECE_BYTES], _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = _left(self._deadline, timeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left_s), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolved(resolve: Resolve, target: Target, left_s: float) -> list[str]:
    """Resolve in a thread of its own: a resolver can hang for minutes, and cannot be told to stop."""
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(resolve(target.host, target.port))
        except Exception as problem:  # noqa: BLE001 - raised again by who waits
            found.put(problem)

    threading.Thread(target=look_up, name="relumine-resolver", daemon=True).start()
    try:
        answer = found.get(timeout=left_s)
    except queue.Empty:
        raise httpcore.ConnectTimeout("resolving") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _left(deadline: float, timeout: float | None) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left_s if timeout is None else min(left_s, timeout)


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _beginning(response: httpcore.Response) -> str:
    """The first bytes of an answer, for the log. The status already decided: a body that breaks off is no failure."""
    kept = b""
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            kept += chunk
            if len(kept) >= MAX_ANSWER_BYTES:
                break
    return kept[:MAX_ANSWER_BYTES].decode("utf-8", "replace")


def _said(problem: Exception, timeout_s: float) -> str:
    """The failure in a few words; never the URL, whose path is as good as a password with many receivers."""
    if isinstance(problem, RefusedError):
        return f"refused: {problem}"
    if isinstance(problem, httpcore.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    if isinstance(problem, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(problem, httpcore.NetworkError | httpcore.ProtocolError | OSError):
        return f"{type(problem).__name__}: {problem}"
    return type(problem).__name__
