"""Errors as RFC 9457 problem details (``application/problem+json``) with a stable code. Input is never echoed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from relumine.schemas.base import Problem
from relumine_server.auth import permissions
from relumine_server.errors import NotReady, ProblemError, StorageUnavailable
from relumine_server.validation_messages import describe_errors

MEDIA_TYPE = "application/problem+json"
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}

REQUEST_ID = "6603dec9b8b5899f"
"""The id of a request in examples."""

ON_EVERY_ROUTE: tuple[type[ProblemError], ...] = (NotReady, StorageUnavailable)

log = structlog.get_logger(__name__)


class ProblemResponse(Response):
    """A problem as a response. The request id is filled in when it is sent, and its code is kept for the log."""

    def __init__(self, problem: Problem, headers: Mapping[str, str]) -> None:
        self.problem = problem
        super().__init__(b"", problem.status, headers, MEDIA_TYPE)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        state = scope.setdefault("state", {})
        state["problem"] = self.problem.code
        problem = self.problem.model_copy(update={"request_id": state.get("request_id")})
        self.body = problem.model_dump_json().encode()
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def response(
    status: int, code: str, title: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """Return a problem as a response."""
    problem = Problem(
        type=f"urn:relumine:{code}", title=title, status=status, code=code, detail=detail, request_id=None
    )
    return ProblemResponse(problem, headers or {})


def raw(status: int, code: str, detail: str) -> bytes:
    """Return a complete HTTP response, for what never became a request; the connection is closed after it."""
    phrase = HTTPStatus(status).phrase
    body = response(status, code, phrase, detail).problem.model_dump_json().encode()
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


def from_error(error: ProblemError) -> ProblemResponse:
    """Return the response of a problem."""
    return response(error.status, error.code, error.title, error.detail, headers=error.headers)


def to_response(error: ProblemError, scope: Scope) -> ProblemResponse:
    """Return the response of a problem, and log its cause if the database is behind it.

    The pattern of the route is logged, never the path: callers must not write log lines.
    """
    if error.__cause__ is not None:
        route = permissions.target(scope["method"], scope["path"]).pattern
        log.error("storage failed", route=route, code=error.code, error=str(error.__cause__)[:500])
    return from_error(error)


def internal_error() -> ProblemResponse:
    """Return the response to an unexpected exception."""
    return response(500, "internal", "Internal error", "An unexpected error occurred; see the server's log.")


def responses(*problems: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for OpenAPI. 422 and 500 are possible on every route."""
    codes_by_status: dict[int | str, list[str]] = {422: ["invalid_request"], 500: ["internal"]}
    for problem in (*problems, *ON_EVERY_ROUTE):
        codes_by_status.setdefault(problem.status, []).append(problem.code)
    return {status: _documented(int(status), codes) for status, codes in codes_by_status.items()}


def _documented(status: int, codes: list[str]) -> dict[str, Any]:
    """Return an error response for OpenAPI, with its first code as the example."""
    problem = response(status, codes[0], HTTPStatus(status).phrase, "what was wrong with this request").problem
    example = problem.model_dump() | {"request_id": REQUEST_ID}
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": ", ".join(codes), "content": {MEDIA_TYPE: content}}


def install(app: FastAPI) -> None:
    """Register the exception handlers on an application."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_problem(request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, ProblemError):
        raise error
    # Its frames are part of a reference cycle with a future, and would keep the request body in memory.
    error.__traceback__ = None
    return to_response(error, request.scope)


async def _on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of the first route that matches the path only.
        headers = {"Allow": ", ".join(permissions.methods(request.url.path))}
    code = HTTP_CODES.get(error.status_code, "http_error")
    return response(error.status_code, code, phrase, phrase, headers=headers)


async def _on_validation_error(_request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return response(422, "invalid_request", "The request is not valid", describe_errors(error.errors()))
