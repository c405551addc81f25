"""Uploads middleware, inside of admission: ``POST /v1/uploads`` goes to its handler without the framework's routing.

It is the request that a server gets most, and its handler has no parameters that the framework could fill in. The route
stays declared for the OpenAPI document, and for requests with a query, which it refuses.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from relumine_server.api import problem_details
from relumine_server.api.routes import uploads
from relumine_server.errors import ProblemError

PATH = "/v1/uploads"


class _Route(NamedTuple):
    """The pattern of the path, as the framework leaves it for metrics and the log."""

    path: str


_ROUTE = _Route(PATH)


class UploadsMiddleware:
    """Answers uploads, and passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        is_upload = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        if not is_upload or scope["query_string"] or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        try:
            response: Response = await uploads.post_upload(Request(scope, receive, send))
        except ProblemError as error:
            error.__traceback__ = None  # its frames would keep the body in memory, as in problem_details
            response = problem_details.to_response(error, scope)
        await response(scope, receive, send)
