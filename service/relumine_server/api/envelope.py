"""Around everything: the id of a request, its time, its line in the log, and the answer to what nobody thought of."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relumine_server.api import problems
from relumine_server.api.schemas import RUN_ID
from relumine_server.metrics import Metrics

HEADER = "X-Request-Id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


class Envelope:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens; count it and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(Headers(scope=scope).get(HEADER))
        answered = _Answered(send, request_id)
        began = time.perf_counter()
        self._metrics.under_way.inc()
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._answer(scope, receive, answered)
                self._note(scope, answered, time.perf_counter() - began)
        finally:
            self._metrics.under_way.dec()

    async def _answer(self, scope: Scope, receive: Receive, answered: _Answered) -> None:
        try:
            await self._app(scope, receive, answered.send)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if answered.status:
                raise  # half an answer is out: all that is left is to break the connection
            await problems.internal()(scope, receive, answered.send)

    def _note(self, scope: Scope, answered: _Answered, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route, code = _route(scope), scope["state"].get("problem")
        self._metrics.requests.labels(method, route, str(answered.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if code is not None:
            self._metrics.refused.labels(code).inc()
        is_news = code is not None or (method not in QUIET and route != "/v1/uploads")
        about = {"run_id": _run_id(scope), "code": code}
        (log.info if is_news else log.debug)(
            "request",
            method=method,
            route=route,
            status=answered.status,
            ms=round(seconds * 1000, 1),
            **{name: value for name, value in about.items() if value is not None},
        )


class _Answered:
    """Passes an answer on, with the id of the request, and remembers its status; 0 before it began."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """As ASGI's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        await self._send(message)


def _request_id(sent: str | None) -> str:
    """What the caller calls the request, if that is harmless; else a name of our own."""
    return sent if sent is not None and REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """The pattern of the path, never the path: labels must be few, and log lines none of the caller's."""
    return getattr(scope.get("route"), "path", "unknown")


def _run_id(scope: Scope) -> str | None:
    found = scope["state"].get("run_id") or scope.get("path_params", {}).get("run_id")
    return found if isinstance(found, str) and re.fullmatch(RUN_ID, found) else None
