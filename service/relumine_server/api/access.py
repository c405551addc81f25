"""Who may do what: the least scope of every route, as a table. Pure: no request, no database.

What the table does not name needs an admin key, so that a route that was forgotten is closed and not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from starlette.routing import compile_path

from relumine_server.credentials import Scope

Need: TypeAlias = Literal["nothing", "ingest", "read", "admin"]

# Whatever changes something needs an admin key, except uploads. Receivers' addresses are secrets to many
# of them (Slack's are), so webhooks and their logs are for admins alone.
TABLE: Mapping[tuple[str, str], Need] = {
    ("POST", "/v1/uploads"): "ingest",
    ("GET", "/v1/projects"): "read",
    ("GET", "/v1/projects/{project}/retention"): "read",
    ("PUT", "/v1/projects/{project}/retention"): "admin",
    ("GET", "/v1/projects/{project}/policy"): "read",
    ("PUT", "/v1/projects/{project}/policy"): "admin",
    ("POST", "/v1/policy/backtest"): "read",  # it writes nothing
    ("GET", "/v1/runs"): "read",
    ("GET", "/v1/runs/{run_id}"): "read",
    ("PATCH", "/v1/runs/{run_id}"): "admin",
    ("DELETE", "/v1/runs/{run_id}"): "admin",
    ("GET", "/v1/runs/{run_id}/overview"): "read",
    ("GET", "/v1/runs/{run_id}/numbers"): "read",
    ("GET", "/v1/runs/{run_id}/export"): "read",
    ("GET", "/v1/runs/{run_id}/layers"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/series"): "read",
    ("GET", "/v1/runs/{run_id}/layers/{layer_id}/units"): "read",
    ("GET", "/v1/alerts"): "read",
    ("GET", "/v1/alerts/{alert_id}"): "read",
    ("GET", "/v1/alerts/{alert_id}/history"): "read",
    ("POST", "/v1/alerts/{alert_id}/acknowledge"): "admin",
    ("POST", "/v1/alerts/{alert_id}/resolve"): "admin",
    ("GET", "/v1/silences"): "read",
    ("POST", "/v1/silences"): "admin",
    ("DELETE", "/v1/silences/{silence_id}"): "admin",
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
    ("GET", "/v1/login"): "nothing",
    ("POST", "/v1/login"): "nothing",
    ("DELETE", "/v1/login"): "nothing",
    ("GET", "/metrics"): "read",
    ("GET", "/livez"): "nothing",
    ("GET", "/readyz"): "nothing",
    ("GET", "/openapi.json"): "nothing",
    ("HEAD", "/openapi.json"): "nothing",
    ("GET", "/docs"): "nothing",
    ("GET", "/"): "nothing",
    ("GET", "/static/{name}"): "nothing",
}

EVERY_PROJECT: frozenset[tuple[str, str]] = frozenset()
"""Routes that concern all projects at once: a key of one project may not ask for them."""

MAY: Mapping[Scope, frozenset[Need]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    "admin": frozenset({"ingest", "read", "admin"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what the key allows, and the one project it is bound to, if any. A server without keys is all admin."""

    scope: Scope
    project: str | None = None
    key_id: str | None = None


ANYBODY = Caller("admin")


class Target(NamedTuple):
    """What a request asks for: the need of its route, whether it concerns every project, the ids in its path."""

    need: Need
    every_project: bool
    parameters: Mapping[str, str]


_ROUTES = [(route, compile_path(route[1])[0], need) for route, need in TABLE.items()]


def methods(path: str) -> list[str]:
    """What may be done with a path."""
    return sorted(route[0] for route, pattern, _ in _ROUTES if pattern.match(path))


@lru_cache(maxsize=1024)
def target(method: str, path: str) -> Target:
    """The route that a path leads to; the answer must not be changed."""
    for route, pattern, need in _ROUTES:
        if route[0] == method and (found := pattern.match(path)):
            return Target(need, route in EVERY_PROJECT, found.groupdict())
    others = {need for _, pattern, need in _ROUTES if pattern.match(path)}
    if others == {"nothing"}:  # another method of a path that is open to all: told by the router that there is none
        return Target("nothing", every_project=False, parameters={})
    return Target("admin", every_project=True, parameters={})
