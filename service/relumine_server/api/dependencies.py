"""FastAPI dependencies of the routes: the services of the application, and what the caller's key may see.

They are ``async`` only because FastAPI would run plain functions in the thread pool, one hop each.
"""

from __future__ import annotations

from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from relumine_server.alerts.service import AlertService
from relumine_server.api.overview_cache import OverviewCache
from relumine_server.api.schemas.common import NameQuery
from relumine_server.api.services import Services, services_of
from relumine_server.auth.authenticator import Authenticator
from relumine_server.auth.permissions import Principal
from relumine_server.clock import Clock
from relumine_server.db.database import Database
from relumine_server.policies.backtest import Backtests
from relumine_server.settings import Settings


class Wakeable(Protocol):
    """A background worker that can be asked to look for work now."""

    def wake(self) -> None:
        """Look for work now instead of at the next interval."""
        ...


async def _services(request: Request) -> Services:
    return services_of(request)


async def _database(request: Request) -> Database:
    return services_of(request).database


async def _settings(request: Request) -> Settings:
    return services_of(request).settings


async def _clock(request: Request) -> Clock:
    return services_of(request).clock


async def _alerts(request: Request) -> AlertService:
    return services_of(request).alerts


async def _dispatcher(request: Request) -> Wakeable:
    return services_of(request).dispatcher


async def _evaluator(request: Request) -> Wakeable:
    return services_of(request).evaluator


async def _backtests(request: Request) -> Backtests:
    return services_of(request).backtests


async def _authenticator(request: Request) -> Authenticator:
    return services_of(request).authenticator


async def _overviews(request: Request) -> OverviewCache:
    return services_of(request).overviews


async def _note_viewed(request: Request) -> None:
    services_of(request).viewed_runs.note(request.path_params["run_id"])


async def _key_project(request: Request) -> str | None:
    return cast("Principal", request.state.caller).project


async def _visible_project(
    key_project: Annotated[str | None, Depends(_key_project)], project: NameQuery = None
) -> str | None:
    """Narrow a list to one project. No project has the empty name, so another project's name gives an empty list."""
    if key_project is None:
        return project
    return key_project if project in (None, key_project) else ""


ServicesDep = Annotated[Services, Depends(_services)]
DatabaseDep = Annotated[Database, Depends(_database)]
SettingsDep = Annotated[Settings, Depends(_settings)]
ClockDep = Annotated[Clock, Depends(_clock)]
AlertsDep = Annotated[AlertService, Depends(_alerts)]
DispatcherDep = Annotated[Wakeable, Depends(_dispatcher)]
EvaluatorDep = Annotated[Wakeable, Depends(_evaluator)]
BacktestsDep = Annotated[Backtests, Depends(_backtests)]
AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]
OverviewsDep = Annotated[OverviewCache, Depends(_overviews)]
NOTE_VIEWED = Depends(_note_viewed)
"""The dependency of routes that a page of a run reads while someone views it."""
KeyProject = Annotated[str | None, Depends(_key_project)]
"""The project that the caller's key is bound to; None for a key of all projects."""
VisibleProject = Annotated[str | None, Depends(_visible_project)]
"""The query parameter ``project`` of a list, narrowed to what the caller's key may see."""
