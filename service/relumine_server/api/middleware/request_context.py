"""Request context middleware, the outermost: request id, metrics, one log line, and the 500 response."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import problem_details
from relumine_server.api.schemas.common import RUN_ID
from relumine_server.errors import Stopping
from relumine_server.metrics import Metrics

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


class RequestContextMiddleware:
    """Answers every request, whatever happens inside, then counts and logs it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        state["request_id"] = request_id
        response = _ResponseSender(send, request_id)
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._respond(scope, receive, response)
                self._record(scope, response.status, time.perf_counter() - started)
        finally:
            self._metrics.in_flight.dec()

    async def _respond(self, scope: Scope, receive: Receive, response: _ResponseSender) -> None:
        try:
            await self._app(scope, receive, response.send)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # A server that stops cancels the requests that take too long: their clients should send them again.
            if not response.status:
                await problem_details.from_error(Stopping())(scope, receive, response.send)
            raise
        except Exception:
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if response.status:
                raise  # half of a response has been sent: the only thing left is to break the connection
            await problem_details.internal_error()(scope, receive, response.send)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = _route(scope)
        code = scope["state"].get("problem")
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if code is not None:
            self._metrics.problems.labels(code).inc()
        changes_something = method not in READING_METHODS and route != "/v1/uploads"
        write = log.info if code is not None or changes_something else log.debug
        fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        optional = {"run_id": _run_id(scope), "code": code}
        fields.update((name, value) for name, value in optional.items() if value is not None)
        write("request", **fields)


class _ResponseSender:
    """Sends a response with the request id in its headers, and keeps its status; 0 before it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send an ASGI message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._request_id
        await self._send(message)


def _request_id(sent: str | None) -> str:
    """Return the request id that the caller sent if it is harmless, else a new one."""
    return sent if sent is not None and REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """Return the pattern of the path, never the path: labels must be few, and callers must not write log lines."""
    return getattr(scope.get("route"), "path", "unknown")


def _run_id(scope: Scope) -> str | None:
    run_id = scope["state"].get("run_id") or scope.get("path_params", {}).get("run_id")
    return run_id if isinstance(run_id, str) and re.fullmatch(RUN_ID, run_id) else None
