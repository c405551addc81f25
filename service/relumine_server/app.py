"""The application: routers, problems, and the life of the store and the courier. Importing it starts nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from relumine import __version__
from relumine_server.api import (
    alerts,
    deliveries,
    described,
    health,
    keys,
    layers,
    login,
    metrics,
    policy,
    problems,
    projects,
    runs,
    silences,
    uploads,
    webhooks,
)
from relumine_server.api.envelope import Envelope
from relumine_server.api.gate import Gate
from relumine_server.api.keyring import Keyring
from relumine_server.api.turns import Turns
from relumine_server.backtest import Backtests
from relumine_server.caretaker import Caretaker
from relumine_server.ending import Ending
from relumine_server.ingest import Ingest
from relumine_server.metrics import Metrics
from relumine_server.page import routes as page
from relumine_server.refold import Refolds
from relumine_server.settings import Settings
from relumine_server.storage import migrate
from relumine_server.storage.quotas import Quotas
from relumine_server.storage.store import Store
from relumine_server.sweep import Sweep
from relumine_server.webhooks.courier import Courier

MODULES = (
    uploads, projects, policy, runs, layers, alerts, silences, webhooks, deliveries, keys, login, health, metrics, page,
)  # fmt: skip


def utc_now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


def create_app(settings: Settings, *, store: Store | None = None, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """An application on a migrated store; without one it opens and migrates that of the settings.

    Raises FileInUse where another process serves the same SQLite file.
    """
    opened = store or Store.open(settings.database_url)
    migrate.upgrade(opened.writing_engine)
    app = FastAPI(
        title="Relumine",
        version=__version__,
        summary="Sees dying ReLUs in PyTorch trainings, says why, and tells somebody in time.",
        lifespan=_life,
        docs_url=None,  # FastAPI's would load scripts from elsewhere; page.routes has its own
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.store, app.state.settings, app.state.clock = opened, settings, clock
    app.state.metrics, app.state.watched = Metrics(), metrics.Watched(opened, clock)
    app.state.intake = uploads.Intake(settings.max_intake_bytes)
    app.state.ingest = Ingest(settings.base_url, quotas=Quotas(settings), metrics=app.state.metrics)
    app.state.refolds = Refolds(opened, clock)
    app.state.backtests = Backtests(opened)
    app.state.keyring = Keyring(opened, clock, settings)
    app.state.attempts = login.Attempts(clock)
    app.state.courier = Courier(opened, settings, clock, metrics=app.state.metrics)
    app.state.sweep = Sweep(opened, settings, clock, on_told=app.state.courier.wake)
    app.state.caretaker = Caretaker(opened, settings, clock)
    app.state.ending = Ending(app.state.sweep.stop, app.state.caretaker.stop, app.state.courier.stop)
    app.state.owns_store = store is None
    problems.install(app)
    for module in MODULES:
        app.include_router(module.router)
    described.install(app)
    app.add_middleware(Turns, settings=settings)  # the innermost first
    app.add_middleware(Gate, store=opened, keyring=app.state.keyring, settings=settings)
    app.add_middleware(Envelope, metrics=app.state.metrics)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    if app.state.settings.courier:
        app.state.courier.start()
    app.state.caretaker.start()
    app.state.sweep.start()
    yield
    app.state.ending.finish()
    if app.state.owns_store:
        app.state.store.close()
