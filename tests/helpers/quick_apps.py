"""Applications that are ready at once: what is the same for each of the thousands of a test run is done once.

FastAPI builds the routes for each application, a tenth of a second; Alembic reads its scripts to find that a
database is migrated. Both are as slow as a whole test.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from relumine_server.db import migrations

_migrated: set[sa.Engine] = set()


def skip_migration(engine: sa.Engine) -> None:
    """Let applications use this database as it is: a copy of a migrated one."""
    _migrated.add(engine)


def install() -> None:
    """Change how applications of this process are set up. It imports them only now: not every process needs them."""
    from fastapi import routing

    import relumine_server.app

    relumine_server.app.migrations = SimpleNamespace(upgrade=_upgrade)
    contexts = getattr(routing, "_EffectiveRouteContext", None)
    if hasattr(contexts, "from_api_route"):  # FastAPI builds routes when they are first requested
        contexts.from_api_route = _sharing(contexts.from_api_route)


def _upgrade(engine: sa.Engine) -> None:
    if engine not in _migrated:
        migrations.upgrade(engine)


def _sharing(build: Any) -> Any:
    """Return the method with its results kept by route and prefix: applications differ only in their overrides."""
    built: dict[tuple[int, str], Any] = {}  # a context holds its route, so that no other one gets the same id

    def from_api_route(*, original_route: Any, include_context: Any) -> Any:
        provider = include_context.dependency_overrides_provider
        if getattr(provider, "dependency_overrides", None):
            return build(original_route=original_route, include_context=include_context)
        key = (id(original_route), include_context.prefix)
        if key not in built:
            shared = dataclasses.replace(include_context, dependency_overrides_provider=None)
            built[key] = build(original_route=original_route, include_context=shared)
        return built[key]

    return from_api_route
