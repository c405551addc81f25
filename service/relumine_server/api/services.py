"""Everything that a request may use, in one typed object: ``app.state.services``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from relumine_server.alerts.evaluator import AlertEvaluator
from relumine_server.alerts.service import AlertService
from relumine_server.api.cached_stats import CachedStats
from relumine_server.api.inflight import InflightBytes
from relumine_server.api.overview_cache import OverviewCache
from relumine_server.api.rate_limit import LoginAttempts
from relumine_server.api.viewed_runs import ViewedRuns
from relumine_server.auth.authenticator import Authenticator
from relumine_server.clock import Clock, Uptime
from relumine_server.db.database import Database
from relumine_server.db.turns import TurnsByKey
from relumine_server.ingest.large_uploads import LargeUploads
from relumine_server.ingest.rebuild import DetectorRebuilds
from relumine_server.ingest.service import IngestService
from relumine_server.maintenance.worker import MaintenanceWorker
from relumine_server.metrics import Metrics
from relumine_server.policies.backtest import Backtests
from relumine_server.settings import Settings
from relumine_server.shutdown import Shutdown
from relumine_server.webhooks.dispatcher import WebhookDispatcher


@dataclass(slots=True)
class Services:
    """The parts of one application. ``app.create_app`` builds them; tests may replace one of them."""

    settings: Settings
    clock: Clock
    uptime: Uptime
    database: Database
    metrics: Metrics
    stats: CachedStats
    authenticator: Authenticator
    login_attempts: LoginAttempts
    inflight: InflightBytes
    alerts: AlertService
    ingest: IngestService
    large_uploads: LargeUploads
    run_turns: TurnsByKey
    rebuilds: DetectorRebuilds
    backtests: Backtests
    dispatcher: WebhookDispatcher
    evaluator: AlertEvaluator
    maintenance: MaintenanceWorker
    shutdown: Shutdown
    viewed_runs: ViewedRuns = field(default_factory=ViewedRuns)
    overviews: OverviewCache = field(default_factory=OverviewCache)


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that handles this request."""
    return cast("Services", connection.app.state.services)
