"""The application: its services, routes and middleware. Importing this module starts nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import TypedDict

from fastapi import FastAPI

from relumine import __version__
from relumine_server.alerts.evaluator import AlertEvaluator
from relumine_server.alerts.run_alerts import Enqueue
from relumine_server.alerts.service import AlertService
from relumine_server.api import openapi, problem_details
from relumine_server.api.cached_stats import CachedStats
from relumine_server.api.inflight import InflightBytes
from relumine_server.api.middleware.admission import AdmissionMiddleware
from relumine_server.api.middleware.authentication import AuthenticationMiddleware
from relumine_server.api.middleware.compression import CompressionMiddleware
from relumine_server.api.middleware.forwarded import ForwardedMiddleware
from relumine_server.api.middleware.request_context import RequestContextMiddleware
from relumine_server.api.middleware.uploads import UploadsMiddleware
from relumine_server.api.rate_limit import LoginAttempts
from relumine_server.api.routes import (
    alerts,
    deliveries,
    incidents,
    keys,
    layers,
    monitoring,
    policies,
    projects,
    run_lists,
    runs,
    server,
    session,
    silences,
    units,
    uploads,
    webhooks,
)
from relumine_server.api.services import Services
from relumine_server.auth.authenticator import Authenticator
from relumine_server.clock import Clock, Monotonic, Uptime, utc_now
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.db.turns import TurnsByKey
from relumine_server.detection.detector import advance
from relumine_server.ingest.analysis import Advance
from relumine_server.ingest.large_uploads import LargeUploads
from relumine_server.ingest.quotas import Quotas
from relumine_server.ingest.rebuild import DetectorRebuilds
from relumine_server.ingest.service import IngestService
from relumine_server.maintenance.worker import MaintenanceWorker
from relumine_server.metrics import Metrics
from relumine_server.outbox.enqueue import enqueue
from relumine_server.policies.backtest import Backtests
from relumine_server.settings import Settings
from relumine_server.shutdown import Shutdown
from relumine_server.ui import routes as ui
from relumine_server.webhooks.dispatcher import WebhookDispatcher

ROUTE_MODULES = (
    uploads, projects, policies, run_lists, runs, layers, units, alerts, incidents, silences, webhooks, deliveries,
    keys, server, session, monitoring, ui,
)  # fmt: skip


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    clock: Clock = utc_now,
    monotonic: Monotonic | None = None,
    detector: Advance = advance,
    outbox: Enqueue = enqueue,
) -> FastAPI:
    """Create the application on a database that is migrated first; without one, on the database of the settings.

    The application closes a database that it opened itself. A test may replace the clocks, the detector, and the outbox
    that alerts write to.

    Raises FileInUseError if another process serves the same SQLite file.
    """
    with ExitStack() as on_failure:
        opened = database or on_failure.enter_context(closing(Database.open(settings.database_url)))
        migrations.upgrade(opened.writing_engine)
        on_failure.pop_all()
    app = FastAPI(
        title="Relumine",
        version=__version__,
        summary="Detects dying ReLUs in PyTorch training runs, names the cause, and alerts in time.",
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's would load scripts from other sites; ui.routes serves its own
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    uptime = Uptime(clock, monotonic, lambda: opened.outages)
    services = app.state.services = _services(settings, opened, clock, uptime, detector=detector, outbox=outbox)
    app.state.owns_database = database is None
    problem_details.install(app)
    _add_routes(app)
    _add_middleware(app, services)
    return app


def _add_routes(app: FastAPI) -> None:
    for module in ROUTE_MODULES:
        app.include_router(module.router)
    openapi.install(app)


def _add_middleware(app: FastAPI, services: Services) -> None:
    """Add the middleware, the innermost first: the last one added is the first to see a request."""
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(UploadsMiddleware)
    app.add_middleware(AdmissionMiddleware, settings=services.settings)
    app.add_middleware(
        AuthenticationMiddleware,
        database=services.database,
        authenticator=services.authenticator,
        settings=services.settings,
    )
    app.add_middleware(RequestContextMiddleware, metrics=services.metrics)
    app.add_middleware(ForwardedMiddleware, proxies=services.settings.proxies)


class _Observed(TypedDict):
    """Services that uploads and the evaluator share."""

    metrics: Metrics
    alerts: AlertService
    uptime: Uptime


def _services(
    settings: Settings, database: Database, clock: Clock, uptime: Uptime, *, detector: Advance, outbox: Enqueue
) -> Services:
    metrics = Metrics()
    observed: _Observed = {"metrics": metrics, "alerts": AlertService(outbox), "uptime": uptime}
    ingest = IngestService(settings.base_url, quotas=Quotas(settings), advance=detector, **observed)
    dispatcher = WebhookDispatcher(database, settings, clock, metrics=metrics)
    evaluator = AlertEvaluator(database, settings, clock, on_notifications=dispatcher.wake, **observed)
    maintenance = MaintenanceWorker(database, settings, clock, metrics=metrics, uptime=uptime)
    return Services(
        settings=settings,
        clock=clock,
        uptime=uptime,
        database=database,
        metrics=metrics,
        stats=CachedStats(database, clock),
        authenticator=Authenticator(database, clock, settings),
        login_attempts=LoginAttempts(),
        inflight=InflightBytes(settings.max_inflight_upload_bytes),
        alerts=observed["alerts"],
        ingest=ingest,
        large_uploads=LargeUploads(database, ingest, clock),
        run_turns=TurnsByKey(),
        rebuilds=DetectorRebuilds(database, clock),
        backtests=Backtests(database),
        dispatcher=dispatcher,
        evaluator=evaluator,
        maintenance=maintenance,
        shutdown=Shutdown(evaluator.stop, maintenance.stop, dispatcher.stop),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    if services.settings.dispatcher:
        services.dispatcher.start()
    services.uptime.start()
    services.maintenance.start()
    services.evaluator.start()
    try:
        yield
        services.shutdown.finish()
    finally:
        services.uptime.stop()
        if app.state.owns_database:
            services.database.close()
