"""What handlers ask for: store, settings, clock, courier, sweep, backtests, keys, and who is asking.

They are ``async`` only because FastAPI would send plain functions through the thread pool, one hop each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Protocol, TypeAlias, cast

from fastapi import Depends, Request

from relumine_server.api.access import Caller
from relumine_server.api.keyring import Keyring
from relumine_server.api.schemas import NameQuery
from relumine_server.backtest import Backtests
from relumine_server.settings import Settings
from relumine_server.storage.store import Store

Clock: TypeAlias = Callable[[], datetime]


class Wakeable(Protocol):
    """The courier or the sweep, as far as a handler knows it."""

    def wake(self) -> None:
        """Look for what is due now."""
        ...


async def _store(request: Request) -> Store:
    return cast("Store", request.app.state.store)


async def _settings(request: Request) -> Settings:
    return cast("Settings", request.app.state.settings)


async def _clock(request: Request) -> Clock:
    return cast("Clock", request.app.state.clock)


async def _courier(request: Request) -> Wakeable:
    return cast("Wakeable", request.app.state.courier)


async def _sweep(request: Request) -> Wakeable:
    return cast("Wakeable", request.app.state.sweep)


async def _backtests(request: Request) -> Backtests:
    return cast("Backtests", request.app.state.backtests)


async def _keyring(request: Request) -> Keyring:
    return cast("Keyring", request.app.state.keyring)


async def _own_project(request: Request) -> str | None:
    return cast("Caller", request.state.caller).project


async def _project_shown(own: Annotated[str | None, Depends(_own_project)], project: NameQuery = None) -> str | None:
    """The project that a list is narrowed to: no project is called by the empty name."""
    if own is None:
        return project
    return own if project in (None, own) else ""


StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[Settings, Depends(_settings)]
ClockDep = Annotated[Clock, Depends(_clock)]
CourierDep = Annotated[Wakeable, Depends(_courier)]
SweepDep = Annotated[Wakeable, Depends(_sweep)]
BacktestsDep = Annotated[Backtests, Depends(_backtests)]
KeyringDep = Annotated[Keyring, Depends(_keyring)]
OwnProject = Annotated[str | None, Depends(_own_project)]
"""The project that the caller's key is bound to; None for a key of all projects."""
ProjectShown = Annotated[str | None, Depends(_project_shown)]
"""The query parameter ``project`` of a list, narrowed to what the caller's key may see."""
