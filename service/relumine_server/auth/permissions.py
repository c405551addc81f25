"""The permission that every route needs, as one table. Pure: no request, no database.

A route that the table does not name needs an admin key: one that was forgotten is closed, not open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from starlette.routing import compile_path

from relumine.schemas.scope import Scope

Permission: TypeAlias = Literal["nothing", "ingest", "read", "write", "admin"]

# Everything that changes something needs an admin key, except uploads, and what the people on call do: a write key
# acknowledges, resolves and silences. The addresses of many receivers are secrets
# (Slack's are), so webhooks and their logs are for admins alone.
PERMISSIONS: Mapping[tuple[str, str], Permission] = {
    ("POST", "/v1/uploads"): "ingest",
    ("GET", "/v1/projects"): "read",
    ("GET", "/v1/projects/{project}/retention"): "read",
    ("PUT", "/v1/projects/{project}/retention"): "admin",
    ("GET", "/v1/projects/{project}/policy"): "read",
    ("PUT", "/v1/projects/{project}/policy"): "admin",
    ("POST", "/v1/policy/backtest"): "read",  # it writes nothing
    ("GET", "/v1/runs"): "read",
    ("GET", "/v1/run-counts"): "read",
    ("GET", "/v1/run-traces"): "read",
    ("GET", "/v1/runs/{run_id}"): "read",
    ("PATCH", "/v1/runs/{run_id}"): "admin",
    ("DELETE", "/v1/runs/{run_id}"): "admin",
    ("GET", "/v1/runs/{run_id}/overview"): "read",
    ("GET", "/v1/runs/{run_id}/metrics"): "read",
    ("GET", "/v1/runs/{run_id}/export"): "read",
    ("GET", "/v1/runs/{run_id}/layers"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/series"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/units"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/unit-map"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/unit-table"): "read",
    ("GET", "/v1/incidents"): "read",
    ("GET", "/v1/incidents/{incident_id}"): "read",
    ("POST", "/v1/incidents/{incident_id}/acknowledge"): "write",
    ("POST", "/v1/incidents/{incident_id}/resolve"): "write",
    ("GET", "/v1/alerts"): "read",
    ("GET", "/v1/alerts/{alert_id}"): "read",
    ("GET", "/v1/alerts/{alert_id}/events"): "read",
    ("POST", "/v1/alerts/{alert_id}/acknowledge"): "write",
    ("POST", "/v1/alerts/{alert_id}/resolve"): "write",
    ("GET", "/v1/silences"): "read",
    ("POST", "/v1/silences"): "write",
    ("DELETE", "/v1/silences/{silence_id}"): "write",
    ("GET", "/v1/webhooks"): "admin",
    ("POST", "/v1/webhooks"): "admin",
    ("GET", "/v1/webhooks/{webhook_id}"): "admin",
    ("PATCH", "/v1/webhooks/{webhook_id}"): "admin",
    ("DELETE", "/v1/webhooks/{webhook_id}"): "admin",
    ("POST", "/v1/webhooks/{webhook_id}/test"): "admin",
    ("POST", "/v1/webhooks/{webhook_id}/rotate-secret"): "admin",
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): "admin",
    ("GET", "/v1/deliveries/{delivery_id}"): "admin",
    ("POST", "/v1/deliveries/{delivery_id}/redeliver"): "admin",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("DELETE", "/v1/keys/{key_id}"): "admin",
    ("GET", "/v1/server"): "admin",
    ("GET", "/v1/session"): "nothing",
    ("POST", "/v1/session"): "nothing",
    ("DELETE", "/v1/session"): "nothing",
    ("GET", "/metrics"): "read",
    ("GET", "/livez"): "nothing",
    ("GET", "/readyz"): "nothing",
    ("GET", "/openapi.json"): "nothing",
    ("HEAD", "/openapi.json"): "nothing",
    ("GET", "/docs"): "nothing",
    ("GET", "/"): "nothing",
    ("GET", "/static/{build}/{name:path}"): "nothing",
}

EVERY_PROJECT = frozenset({("GET", "/metrics"), ("GET", "/v1/server")})
"""Routes that tell of all projects at once. Others without a project in their path narrow themselves to the key's."""

SCOPE_GRANTS: Mapping[Scope, frozenset[Permission]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"ingest", "read", "write", "admin"}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: the scope of its key, and the project that the key is bound to, if any."""

    scope: Scope
    project: str | None = None
    key_id: str | None = None


ANONYMOUS = Principal("admin")
"""Every caller of a server without keys."""


class Target(NamedTuple):
    """The route of a request: the permission it needs, the ids in its path, and its path as it is declared.

    ``is_for_bound_keys`` is False if a key of one project may not use it.
    """

    permission: Permission
    is_for_bound_keys: bool
    parameters: Mapping[str, str]
    pattern: str = "unknown"


MAX_CACHED_CHARS = 300  # of a path: a caller must not fill the cache with long ones


def _pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a declared path. A project's name may contain a slash, as team/model does."""
    return compile_path(path.replace("{project}", "{project:path}"))[0]


_ROUTES = [(route, _pattern(route[1]), permission) for route, permission in PERMISSIONS.items()]


def methods(path: str) -> list[str]:
    """Return the HTTP methods that a path has."""
    return sorted(route[0] for route, pattern, _ in _ROUTES if pattern.match(path))


def target(method: str, path: str) -> Target:
    """Return the route that a path leads to. The result is cached and must not be changed."""
    return (_cached_target if len(path) <= MAX_CACHED_CHARS else _find_target)(method, path)


def _find_target(method: str, path: str) -> Target:
    for route, pattern, permission in _ROUTES:
        match = pattern.match(path)
        if match and route[0] == method:
            return Target(permission, route not in EVERY_PROJECT, match.groupdict(), route[1])
    permissions = {permission for _, pattern, permission in _ROUTES if pattern.match(path)}
    if permissions == {"nothing"}:  # a public path without this method: the router answers 405
        return Target("nothing", is_for_bound_keys=True, parameters={})
    return Target("admin", is_for_bound_keys=False, parameters={})


_cached_target = lru_cache(maxsize=1024)(_find_target)
