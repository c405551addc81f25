"""The common part of transport and client: what requests carry and answers may be. No HTTP library.

A server may be hostile or broken, and must not harm the training: its answers are read uncompressed and within bounds,
its redirects are not followed, and its cookies are not stored.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

from relumine._runtime.settings import BasicAuth, Settings
from relumine.schemas.base import Problem

NOT_RELUMINE = "the response is not from a Relumine server"

REQUEST_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
"""Loggers of the HTTP library that write a line or more for every request."""


class UnboundedResponse(Exception):
    """A response that is larger, slower or otherwise encoded than was asked for. The message says so."""


class _OurRequests(logging.Filter):
    """A filter that drops what the HTTP library logs of this thread's request. Other requests are logged as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.local()

    def filter(self, _record: logging.LogRecord) -> bool:
        return not getattr(self.thread, "is_sending", False)


_our_requests = _OurRequests()


@contextmanager
def unlogged_request() -> Iterator[None]:
    """Keep the request in this block out of the application's log: an upload every few seconds would fill it."""
    for name in REQUEST_LOGGERS:
        logging.getLogger(name).addFilter(_our_requests)  # once, whatever happened to the loggers meanwhile
    was_sending = getattr(_our_requests.thread, "is_sending", False)
    _our_requests.thread.is_sending = True
    try:
        yield
    finally:
        _our_requests.thread.is_sending = was_sending


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of an ``httpx.Client`` for this server: the key, no compression, no cookies, no redirects.

    The key is that of the settings, else the name and password of the URL. A server on this machine is reached without
    a proxy, whatever the environment says.
    """
    return {
        "headers": {"accept-encoding": "identity", **_authorization(settings.api_key, settings.basic_auth)},
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a server could fill the memory with them
        "follow_redirects": False,  # the key is for this server
        "mounts": {f"all://{host}": None for host in _unproxied_hosts(settings.url)},
    }


def _authorization(api_key: str | None, basic_auth: BasicAuth | None) -> dict[str, str]:
    if api_key:
        return {"authorization": f"Bearer {api_key}"}
    if basic_auth is None:
        return {}
    credentials = base64.b64encode(f"{basic_auth.user}:{basic_auth.password}".encode())
    return {"authorization": f"Basic {credentials.decode('ascii')}"}


def _unproxied_hosts(url: str) -> list[str]:
    host = urlsplit(url).hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost" or host.endswith(".localhost")
    if not is_loopback:
        return []
    return [f"[{host}]" if ":" in host else host]


def read_body(chunks: Iterable[bytes], content_encoding: str, *, max_bytes: int, max_s: float) -> bytes:
    """Return the body of a response from its chunks as they were received.

    Raises:
        UnboundedResponse: it is compressed, or has no end within ``max_bytes`` and ``max_s`` seconds.
    """
    if content_encoding.strip().lower() not in ("", "identity"):
        raise UnboundedResponse("the response is compressed, which was not asked for")
    deadline = time.monotonic() + max_s
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise UnboundedResponse(f"the response is larger than {max_bytes:,} bytes")
        if time.monotonic() > deadline:
            raise UnboundedResponse(f"the response did not end within {max_s:g} seconds")
    return bytes(body)


def parse_problem(content: bytes) -> Problem | None:
    """Return the problem details (RFC 9457) in a response; None where it holds none, so is not from our server."""
    try:
        return Problem.model_validate_json(content)
    except ValueError:
        return None
