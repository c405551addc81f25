"""Refuses query parameters that a route does not have: a misspelt filter would be ignored, and a list be too long.

A parameter given twice is refused as well, because all values but the last would be ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from relumine_server.errors import InvalidRequest
from relumine_server.validation_messages import field_name

MAX_NAMED = 5


class StrictQueryRoute(APIRoute):
    """A route that answers 422 to a query parameter it does not declare. Every router of the API uses it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI behind a check of the names in the query."""
        handle = super().get_route_handler()
        allowed = sorted(_query_names(self.dependant))

        async def check_and_handle(request: Request) -> Response:
            if request.scope["query_string"]:
                _check([name for name, _ in request.query_params.multi_items()], allowed)
            return await handle(request)

        return check_and_handle


def _query_names(dependant: Dependant) -> set[str]:
    """Return the names of the query parameters of a route and of its dependencies."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*map(_query_names, dependant.dependencies))


def _check(names: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise InvalidRequest where a name is not allowed or occurs twice."""
    unknown = list(dict.fromkeys(name for name in names if name not in allowed))
    if unknown:
        listed = ", ".join(field_name(name) for name in unknown[:MAX_NAMED])
        if len(unknown) > MAX_NAMED:
            listed += f" and {len(unknown) - MAX_NAMED} more"
        allowed_names = f"allowed are {', '.join(allowed)}" if allowed else "this route has none"
        raise InvalidRequest(f"query: unknown parameter {listed}; {allowed_names}")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise InvalidRequest(f"query: {', '.join(repeated)} given more than once")
