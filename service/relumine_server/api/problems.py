"""Every error leaves as ``application/problem+json`` with a stable code. Input is never repeated in an answer."""

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

from relumine.views import Problem
from relumine_server.api import access
from relumine_server.errors import NotReady, ProblemError, StorageUnavailable

MEDIA_TYPE = "application/problem+json"
CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}

OTHER_FORM = frozenset({"is_instance_of", "list_type", "model_type"})
"""What a union says of the forms that were not sent; of interest only where there is nothing else to say."""

EVERYWHERE: tuple[type[ProblemError], ...] = (NotReady, StorageUnavailable)

log = structlog.get_logger(__name__)


class Answer(Response):
    """A problem as a response. It learns the id of the request when it is sent, and leaves its code with it."""

    def __init__(self, problem: Problem, headers: Mapping[str, str]) -> None:
        self.problem = problem
        super().__init__(b"", problem.status, headers, MEDIA_TYPE)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        state = scope.setdefault("state", {})
        state["problem"] = self.problem.code
        told = self.problem.model_copy(update={"request_id": state.get("request_id")})
        self.body = told.model_dump_json().encode()
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def answer(status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One problem as a response."""
    problem = Problem(
        type=f"urn:relumine:{code}", title=title, status=status, code=code, detail=detail, request_id=None
    )
    return Answer(problem, headers or {})


def raw(status: int, code: str, detail: str) -> bytes:
    """A whole HTTP answer, for what never became a request; the connection ends with it."""
    phrase = HTTPStatus(status).phrase
    problem = answer(status, code, phrase, detail).problem
    body = problem.model_dump_json().encode()
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


def of(error: ProblemError) -> Answer:
    """The answer that a problem is."""
    return answer(error.status, error.code, error.title, error.detail, error.headers)


def told(error: ProblemError, path: str) -> Answer:
    """The answer that a problem is, after a line in the log where the database is behind it."""
    if error.__cause__ is not None:
        log.error("storage failed", path=path, code=error.code, error=str(error.__cause__)[:500])
    return of(error)


def responses(*problems: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside its success, for OpenAPI; 422 and 500 are possible everywhere."""
    known: dict[int | str, list[str]] = {422: ["invalid_request"], 500: ["internal"]}
    for problem in (*problems, *EVERYWHERE):
        known.setdefault(problem.status, []).append(problem.code)
    schema = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": ", ".join(codes), "content": schema} for status, codes in known.items()}


def install(app: FastAPI) -> None:
    """Put the handlers on an app."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _problem(request: Request, error: Exception) -> Answer:
    if not isinstance(error, ProblemError):
        raise error
    error.__traceback__ = None  # else its frames, in a circle with a future, hold on to the body
    return told(error, request.url.path)


async def _http(request: Request, error: Exception) -> Answer:
    if not isinstance(error, HTTPException):
        raise error
    phrase, headers = HTTPStatus(error.status_code).phrase, error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(access.methods(request.url.path))}  # the router names those of its first match
    return answer(error.status_code, CODES.get(error.status_code, "http_error"), phrase, phrase, headers)


async def _invalid(_request: Request, error: Exception) -> Answer:
    if not isinstance(error, RequestValidationError):
        raise error
    return answer(422, "invalid_request", "The request is not valid", places(error.errors()))


def internal() -> Answer:
    """The answer to whatever nobody thought of."""
    return answer(500, "internal", "Internal error", "Something failed here; the server's log has the details.")


def places(errors: Any) -> str:
    """Where and why a validation failed, without what was sent: at most five places.

    Names of fields come from our models; a key of the sender's own (in a dict) is shown as a dot.
    """
    said = []
    of_the_form = [error for error in errors if error["type"] not in OTHER_FORM]
    for error in (of_the_form or list(errors))[:5]:
        where = ".".join(part if _is_ours(part) else "·" for part in map(str, error["loc"]))
        said.append(f"{where or 'body'}: {_reason(error)}")
    return "; ".join(said)


def _is_ours(part: str) -> bool:
    return part.isascii() and part.replace("_", "").replace("-", "").isalnum() and len(part) <= 40


def _reason(error: Mapping[str, Any]) -> str:
    """The message of a rule; messages that pydantic fills with the input are cut down to their type."""
    kind = str(error["type"])
    if kind in ("json_invalid", "literal_error", "string_pattern_mismatch", "enum", "union_tag_invalid"):
        return kind.replace("_", " ")
    return message(error)


def message(error: Mapping[str, Any]) -> str:
    """The message of a rule, at most 200 characters; without the word that pydantic puts before our own."""
    return str(error["msg"]).removeprefix("Value error, ").encode("utf-8", "replace").decode()[:200]
