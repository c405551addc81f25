"""Every table. ``run_id`` comes first in every key of a run and its children, so that rows can be spread by it.

Tables whose keys name no run are never spread (projects, webhooks, keys, silences, the outbox). Times are bound by the
application, in UTC. No triggers, no relationships, no SET NULL.
"""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.storage import alert_tables
from relumine_server.storage.columns import Document, SessionId, UtcTime, metadata, required

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    required("created_at", UtcTime),
    sa.Column("retention", Document),
    sa.Column("policy", Document),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    required("project", sa.Text),
    sa.Column("group_name", sa.Text),
    sa.Column("name", sa.Text),
    required("config", Document),
    required("tags", Document),
    sa.Column("sdk", sa.Text),
    sa.Column("torch", sa.Text),
    required("state", sa.Text),
    sa.Column("started_at", UtcTime),
    required("created_at", UtcTime),
    required("updated_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("last_step", sa.BigInteger),
    required("dropped", Document),
    sa.Column("coverage", Document),
    sa.Column("folded_session", SessionId),
    sa.Column("folded_seq", sa.BigInteger),
    sa.Column("folded_at", UtcTime),
    sa.Column("session_step", sa.BigInteger),
    required("pause_s", sa.Float, default=0.0),
    required("loose_records", sa.BigInteger, default=0),
    required("unit_rows", sa.BigInteger, default=0),
    required("unit_bytes", sa.BigInteger, default=0),
    sa.Index(None, "project", "created_at", "run_id"),
    sa.Index(None, "created_at", "run_id"),
    sa.Index(None, "state"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    required("created_at", UtcTime),
    required("world_size", sa.Integer),
    sa.Column("first_step", sa.BigInteger),
    required("disordered", sa.Boolean),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("received_at", UtcTime),
    required("records", sa.Integer),
    sa.Column("last_step", sa.BigInteger),
    required("late", sa.Boolean),
    required("folded", sa.Boolean),
)

layers = sa.Table(
    "layers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    required("name", sa.Text),
    required("units", sa.Integer),
    required("info", Document),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("first_step", sa.BigInteger),
    required("last_step", sa.BigInteger),
    required("records", sa.Integer),
    required("columns", sa.LargeBinary),
    sa.Column("rates", sa.LargeBinary),
    sa.Column("readings", sa.LargeBinary),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    sa.Column("statistic", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("last_seq", sa.BigInteger),
    required("first_step", sa.BigInteger),
    required("last_step", sa.BigInteger),
    required("records", sa.Integer),
    sa.Column("least", sa.Float),
    sa.Column("greatest", sa.Float),
    sa.Column("latest", sa.Float),
    sa.Column("data", sa.LargeBinary),
)

unit_rows = sa.Table(
    "unit_rows",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("ordinal", sa.BigInteger),
    required("size", sa.BigInteger),
    required("layers", sa.LargeBinary),
    required("columns", sa.LargeBinary),
)

numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("first_step", sa.BigInteger),
    required("last_step", sa.BigInteger),
    required("items", Document),
)

detector_states = sa.Table(
    "detector_states",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    required("session", SessionId),
    required("seq", sa.BigInteger),
    required("state", sa.LargeBinary),
    required("updated_at", UtcTime),
)

alerts, history, silences = alert_tables.alerts, alert_tables.history, alert_tables.silences

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),
    required("url", sa.Text),
    required("format", sa.Text),
    required("events", Document),
    required("severity", sa.Text),
    sa.Column("project", sa.Text),
    required("group_wait_s", sa.Float),
    required("enabled", sa.Boolean),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("disabled_at", UtcTime),
    required("secret", sa.Text),
    required("retiring", Document),
    required("created_at", UtcTime),
)

lines = sa.Table(
    "lines",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("lease_until", UtcTime),
    sa.Column("paused_until", UtcTime),
    required("failures", sa.Integer),
    sa.Column("failing_since", UtcTime),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    required("webhook_id", sa.Text),
    required("event", sa.Text),
    required("run_id", sa.Text),
    required("project", sa.Text),
    required("subject", Document),
    required("alerts", sa.Integer),
    required("state", sa.Text),
    sa.Column("reason", sa.Text),
    required("due_at", UtcTime),
    required("attempt", sa.Integer),
    required("tried", sa.Integer),
    required("taken", sa.Integer),
    sa.Column("payload", sa.Text),
    required("created_at", UtcTime),
    required("updated_at", UtcTime),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "webhook_id", "delivery_id"),
    sa.Index(None, "webhook_id", "state", "delivery_id"),
    sa.Index(None, "run_id", "webhook_id"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    required("attempted_at", UtcTime),
    sa.Column("status", sa.Integer),
    required("duration_ms", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("answer", sa.Text),
)

told = sa.Table(
    "told",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("webhook_id", sa.Text, primary_key=True),
    required("keys", Document),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    required("digest", sa.Text),
    required("scope", sa.Text),
    sa.Column("project", sa.Text),
    sa.Column("name", sa.Text),
    required("created_at", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    required("key_id", sa.Text),
    required("created_at", UtcTime),
    required("expires_at", UtcTime),
)

BLOBS = (
    "segments.columns",
    "segments.rates",
    "segments.readings",
    "chunks.data",
    "unit_rows.columns",
    "detector_states.state",
)
"""Numbers packed by ourselves: Postgres is told not to compress them, which costs more than writing them does."""
