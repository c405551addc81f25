"""Tables of the outbox: webhooks, their leases, their deliveries and attempts, and the log of what each was sent."""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.db.types import JsonArray, JsonObject, UtcTime, metadata, required

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    required("url", sa.Text),
    required("format", sa.Text),
    required("events", JsonArray()),
    required("min_severity", sa.Text),
    sa.Column("project", sa.Text),
    required("group_wait_s", sa.Float),
    required("enabled", sa.Boolean),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("disabled_at", UtcTime),
    required("secret", sa.Text),
    required("previous_secrets", JsonArray()),
    required("created_at", UtcTime),
)

webhook_leases = sa.Table(
    "webhook_leases",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", UtcTime),
    sa.Column("paused_until", UtcTime),
    required("consecutive_failures", sa.Integer),
    sa.Column("first_failure_at", UtcTime),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    required("webhook_id", sa.Text),
    required("event", sa.Text),
    required("run_id", sa.Text),
    required("project", sa.Text),
    required("alert_refs", JsonObject()),
    required("alert_count", sa.Integer),
    required("state", sa.Text),
    sa.Column("status_reason", sa.Text),
    required("next_attempt_at", UtcTime),
    required("attempt_count", sa.Integer),
    required("attempts_in_cycle", sa.Integer),
    required("revision", sa.Integer),
    sa.Column("payload", sa.Text),
    required("created_at", UtcTime),
    required("updated_at", UtcTime),
    sa.Index(None, "state", "next_attempt_at"),
    sa.Index(None, "webhook_id", "delivery_id"),
    sa.Index(None, "webhook_id", "state", "delivery_id"),
    sa.Index(None, "run_id", "webhook_id"),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    required("attempted_at", UtcTime),
    sa.Column("response_status", sa.Integer),
    required("duration_ms", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("response_body", sa.Text),
)

notification_log = sa.Table(
    "notification_log",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("webhook_id", sa.Text, primary_key=True),
    required("firing_alerts", JsonObject()),
)
