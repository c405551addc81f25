"""Tells in OpenAPI what the gate does before any route: which key a route needs, and what is answered without it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from relumine_server.api import problems
from relumine_server.api.access import EVERY_PROJECT, TABLE
from relumine_server.api.cookies import NAME
from relumine_server.api.gate import UNCOUNTED
from relumine_server.api.origins import SAFE_METHODS
from relumine_server.api.uploads import SENT
from relumine_server.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CrossSite,
    KeyExpired,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    OtherProject,
    Overloaded,
    ProblemError,
    ScopeTooSmall,
    TooManyRequests,
    UnknownHost,
)

SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "rlm_<scope>_…"},
    "login": {"type": "apiKey", "in": "cookie", "name": NAME, "description": "from POST /v1/login"},
}
UNAUTHORIZED = (KeyMissing, KeyUnknown, KeyExpired, KeyRevoked)


def install(app: FastAPI) -> None:
    """Put the gate into the description that an app gives of itself."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            parts = schema.setdefault("components", {})
            parts["securitySchemes"] = SCHEMES
            parts.setdefault("schemas", {}).update(SENT)
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    _describe(operation, (method.upper(), path))
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _describe(operation: dict[str, Any], route: tuple[str, str]) -> None:
    need, changes = TABLE.get(route, "admin"), route[0] not in SAFE_METHODS
    met: list[type[ProblemError]] = [UnknownHost, *([CrossSite, BodyTooSlow, BodyTooLarge] if changes else [])]
    if route[1] not in UNCOUNTED:
        met += [TooManyRequests, Overloaded]
    if need != "nothing":
        met += [*UNAUTHORIZED, ScopeTooSmall, *([OtherProject] if changes or route in EVERY_PROJECT else [])]
        operation["security"] = [{"key": []}, {"login": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds a key of scope `{need}`.".strip()
    for status, said in problems.responses(*met).items():
        if status not in (422, 500):
            _add(operation["responses"], str(status), said)


def _add(responses: dict[str, Any], status: str, said: dict[str, Any]) -> None:
    known = responses.setdefault(status, said)
    codes = known["description"].split(", ") if known is not said else []
    known["description"] = ", ".join(dict.fromkeys([*codes, *said["description"].split(", ")]))
