"""The HTTP client for webhooks: one POST to an endpoint that is not trusted, and its outcome.

Addresses are checked when it connects, and it connects to the address that was checked, so that a name whose address
changes in between leads nowhere. There are no redirects and no proxies from the environment. One deadline covers the
whole attempt, however slowly a resolver or an endpoint responds. Of a response no more is read than is stored, and
nothing is decompressed.

Built on httpcore, the engine of httpx, because httpx accepts no network backend and logs whole URLs.
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

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.net.ssrf import RefusedError, Target, read_target, refusal_reason
from relumine_server.outbox.retry import Outcome
from relumine_server.webhooks.own_addresses import is_own_address

MAX_RESPONSE_BYTES = 1024
_CHUNK_BYTES = 4096
_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": "Relumine-Webhooks/1",
}

Resolve: TypeAlias = Callable[[str, int], list[str]]


def system_addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host as this machine resolves it. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


class WebhookHttpClient:
    """Makes attempts; keeps no connection open between them."""

    def __init__(
        self,
        allowed: TargetAllowlist,
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
        """Send one POST. A failure of the endpoint or the network is part of the outcome, never an exception."""
        started = time.monotonic()
        response_status: int | None = None
        response_body: str | None = None
        retry_after: str | None = None
        error: str | None = None
        try:
            target = read_target(url, self._allowed)
            with self._pool(target, started) as pool, self._request(pool, target, headers, body) as response:
                response_status = response.status
                retry_after = _header(response, b"retry-after")
                response_body = _read_beginning(response)
        except Exception as problem:  # noqa: BLE001 - every failure is the outcome of the attempt
            error = _error_text(problem, self._timeout_s)
        return Outcome(
            response_status=response_status,
            duration_ms=round((time.monotonic() - started) * 1000),
            error=error,
            response_body=response_body,
            retry_after=retry_after,
        )

    def _pool(self, target: Target, started: float) -> httpcore.ConnectionPool:
        backend = _CheckedBackend(target, self._checked_addresses, deadline=started + self._timeout_s)
        return httpcore.ConnectionPool(
            ssl_context=self._ssl_context, max_keepalive_connections=0, network_backend=backend
        )

    def _request(
        self, pool: httpcore.ConnectionPool, target: Target, headers: Mapping[str, str], body: str
    ) -> AbstractContextManager[httpcore.Response]:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        all_headers: list[tuple[bytes | str, bytes | str]] = [("host", target.authority)]
        all_headers += [*_HEADERS.items(), *headers.items()]
        return pool.stream("POST", url, headers=all_headers, content=body.encode(), extensions={"timeout": timeouts})

    def _checked_addresses(self, target: Target, timeout_s: float) -> list[str]:
        """Return the addresses of a host. Raises RefusedError where a notification may not go to one of them."""
        addresses = _resolve_within(timeout_s, self._resolve, target)
        problem = refusal_reason(target, addresses, self._allowed, is_own_address)
        if problem:
            raise RefusedError(problem)
        return addresses

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_context or httpx.create_ssl_context(trust_env=False)


class _CheckedBackend(httpcore.SyncBackend):
    """A network backend that resolves, checks, and connects to a checked address, all within one deadline."""

    def __init__(self, target: Target, addresses: Callable[[Target, float], list[str]], *, deadline: float) -> None:
        super().__init__()
        self._target = target
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that accepts. Raises the failure of the last one."""
        failure: Exception = httpcore.ConnectError("no address")
        target = self._target._replace(host=host, port=port)
        for address in self._addresses(target, _remaining_s(self._deadline, timeout)):
            remaining_s = _remaining_s(self._deadline, timeout)
            try:
                stream = super().connect_tcp(address, port, remaining_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise failure


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which every wait ends at one deadline, so that an endpoint gains nothing by sending slowly."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining_s(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write in chunks, because an endpoint that reads slowly must not get a new timeout for the whole buffer."""
        for start in range(0, len(buffer), _CHUNK_BYTES):
            self._stream.write(buffer[start : start + _CHUNK_BYTES], _remaining_s(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        remaining_s = _remaining_s(self._deadline, timeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, remaining_s), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve_within(timeout_s: float, resolve: Resolve, target: Target) -> list[str]:
    """Resolve in a thread of its own, because a resolver can hang for minutes and cannot be interrupted."""
    results: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(resolve(target.host, target.port))
        except Exception as problem:  # noqa: BLE001 - raised again in the waiting thread
            results.put(problem)

    threading.Thread(target=run, name="relumine-resolver", daemon=True).start()
    try:
        result = results.get(timeout=timeout_s)
    except queue.Empty:
        raise httpcore.ConnectTimeout("resolving") from None
    if isinstance(result, Exception):
        raise result
    return result


def _remaining_s(deadline: float, timeout: float | None) -> float:
    """Return the seconds until the deadline, at most ``timeout``. Raises ReadTimeout where it has passed."""
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise httpcore.ReadTimeout("deadline")
    return remaining_s if timeout is None else min(remaining_s, timeout)


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _read_beginning(response: httpcore.Response) -> str:
    """Return the first bytes of a body, for the log. The status is known by now: a body that breaks off is no error."""
    body = b""
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            body += chunk
            if len(body) >= MAX_RESPONSE_BYTES:
                break
    return body[:MAX_RESPONSE_BYTES].decode("utf-8", "replace")


def _error_text(problem: Exception, timeout_s: float) -> str:
    """Return a short description of a failure, without the URL: its path is often a credential."""
    if isinstance(problem, RefusedError):
        return f"refused: {problem}"
    if isinstance(problem, httpcore.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    if isinstance(problem, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(problem, httpcore.NetworkError | httpcore.ProtocolError | OSError):
        return f"{type(problem).__name__}: {problem}"
    return type(problem).__name__
