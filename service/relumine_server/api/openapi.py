"""Adds to the OpenAPI document what middleware does before any route: the key a route needs, and the refusals."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from relumine.schemas.base import Problem
from relumine_server.api import openapi_examples, problem_details
from relumine_server.api.host_origin import SAFE_METHODS
from relumine_server.api.middleware.authentication import NOT_RATE_LIMITED
from relumine_server.api.schemas.common import UPLOAD_SCHEMAS
from relumine_server.auth.permissions import PERMISSIONS
from relumine_server.auth.session_cookie import COOKIE_NAME
from relumine_server.errors import (
    BodyTimeout,
    BodyTooLarge,
    CrossSiteRequest,
    InsufficientScope,
    KeyExpired,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    Overloaded,
    ProblemError,
    ProjectForbidden,
    TooManyRequests,
    UnknownHost,
)

SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "rlm_<scope>_…"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE_NAME, "description": "from POST /v1/session"},
}


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation for generated clients: that of its function."""
    return route.name


def install(app: FastAPI) -> None:
    """Extend the OpenAPI document of an application."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _extend(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _extend(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas.update(deepcopy(UPLOAD_SCHEMAS), Problem=Problem.model_json_schema())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _extend_operation(operation, method.upper(), path)
    openapi_examples.describe(document)
    return document


def _extend_operation(operation: dict[str, Any], method: str, path: str) -> None:
    permission = PERMISSIONS.get((method, path), "admin")
    if permission != "nothing":
        operation["security"] = [{"key": []}, {"session": []}]
        description = operation.get("description", "")
        operation["description"] = f"{description}\n\nNeeds a key of scope `{permission}`.".strip()
    refusals = _refusals(path, changes=method not in SAFE_METHODS, needs_key=permission != "nothing")
    for status, response in problem_details.responses(*refusals).items():
        _add_response(operation["responses"], str(status), response)


def _refusals(path: str, *, changes: bool, needs_key: bool) -> list[type[ProblemError]]:
    """Return the problems that middleware may answer with."""
    problems: list[type[ProblemError]] = [UnknownHost]
    if changes:
        problems += [CrossSiteRequest, BodyTimeout, BodyTooLarge]
    if path not in NOT_RATE_LIMITED:
        problems += [TooManyRequests, Overloaded]
    if needs_key:
        problems += [KeyMissing, KeyUnknown, KeyExpired, KeyRevoked, InsufficientScope]
    if needs_key and changes:
        problems.append(ProjectForbidden)
    return problems


def _add_response(responses: dict[str, Any], status: str, response: dict[str, Any]) -> None:
    """Add a response, or its codes to a response of the same status."""
    existing = responses.setdefault(status, response)
    if existing is not response:
        codes = [*existing["description"].split(", "), *response["description"].split(", ")]
        existing["description"] = ", ".join(dict.fromkeys(codes))
