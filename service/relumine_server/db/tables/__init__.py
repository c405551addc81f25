"""Every table, by the package that owns its rows.

``run_id`` comes first in every key of a run and its children, so that rows can be distributed by it. Tables whose keys
name no run are never distributed (projects, webhooks, API keys, silences, the outbox). Times are bound by the
application, in UTC. There are no triggers, no relationships and no SET NULL.
"""

from __future__ import annotations

from relumine_server.db.tables.alerts import alert_events, alert_is_open, alerts, incidents, silences
from relumine_server.db.tables.auth import api_keys, login_sessions
from relumine_server.db.tables.runs import (
    detector_states,
    layers,
    projects,
    run_is_visible,
    run_sessions,
    runs,
    uploads,
)
from relumine_server.db.tables.timeseries import chunks, logged_metrics, record_parts, segments, unit_stats
from relumine_server.db.tables.webhooks import deliveries, delivery_attempts, notification_log, webhook_leases, webhooks
from relumine_server.db.types import metadata

__all__ = [
    "BLOBS",
    "alert_events",
    "alert_is_open",
    "alerts",
    "api_keys",
    "chunks",
    "deliveries",
    "delivery_attempts",
    "detector_states",
    "incidents",
    "layers",
    "logged_metrics",
    "login_sessions",
    "metadata",
    "notification_log",
    "projects",
    "record_parts",
    "run_is_visible",
    "run_sessions",
    "runs",
    "segments",
    "silences",
    "unit_stats",
    "uploads",
    "webhook_leases",
    "webhooks",
]

BLOBS = (
    "runs.trace",
    "segments.data",
    "segments.learning_rates",
    "segments.readings",
    "chunks.data",
    "unit_stats.columns",
    "record_parts.columns",
    "detector_states.state",
)
"""Binary columns that the application packs. Postgres does not compress them: that costs more than writing them."""
