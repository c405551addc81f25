"""Tables of projects, runs and what describes a run: sessions, uploads, layers and the detector state."""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.db.types import JsonArray, JsonObject, SessionId, UtcTime, metadata, required

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    required("created_at", UtcTime),
    sa.Column("retention", JsonObject(optional=True)),
    sa.Column("policy", JsonObject(optional=True)),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    required("project", sa.Text),
    sa.Column("group_name", sa.Text),
    sa.Column("name", sa.Text),
    required("config", JsonObject()),
    required("tags", JsonArray()),
    sa.Column("sdk", sa.Text),
    sa.Column("torch", sa.Text),
    required("status", sa.Text),
    sa.Column("sent_id", sa.Text),
    sa.Column("started_at", UtcTime),
    required("created_at", UtcTime),
    required("updated_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("last_step", sa.BigInteger),
    required("dropped", JsonObject()),
    sa.Column("coverage", JsonObject(optional=True)),
    sa.Column("watching", JsonObject()),  # a damaged one is read as empty: null means that none was reported
    sa.Column("detector_session", SessionId),
    sa.Column("detector_seq", sa.BigInteger),
    sa.Column("last_heartbeat_at", UtcTime),
    sa.Column("session_first_step", sa.BigInteger),
    sa.Column("rate_step", sa.BigInteger),
    sa.Column("rate_at", UtcTime),
    sa.Column("steps_per_s", sa.Float),
    required("longest_gap_s", sa.Float, default=0.0),
    required("is_shared", sa.Boolean, default=False),
    required("health", sa.Text, default="unknown"),
    sa.Column("health_reason", sa.Text),
    sa.Column("problem_health", sa.Text),
    sa.Column("problem_reason", sa.Text),
    required("layers_dead", sa.BigInteger, default=0),
    required("sampled_steps", sa.BigInteger, default=0),
    sa.Column("last_layer_step", sa.BigInteger),
    required("since_layer", sa.BigInteger, default=0),
    required("longest_without_layer", sa.BigInteger, default=0),
    sa.Column("final_loss", sa.Float),
    sa.Column("lost_fraction", sa.Float),
    required("uncompacted_records", sa.BigInteger, default=0),
    required("unit_stat_rows", sa.BigInteger, default=0),
    required("unit_stat_bytes", sa.BigInteger, default=0),
    sa.Column("trace", sa.LargeBinary),
    sa.Column("deleted_at", UtcTime),
    sa.Index(None, "project", "created_at", "run_id"),
    sa.Index(None, "created_at", "run_id"),
    sa.Index(None, "project", "sent_id"),
    sa.Index(None, "status"),
    sa.Index(None, "health", "created_at", "run_id"),
    sa.Index(None, "deleted_at"),
)
run_is_visible = runs.c.deleted_at.is_(None)
"""A run whose deletion has begun is hidden until nothing of it is left."""

run_sessions = sa.Table(
    "run_sessions",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    required("client_session", sa.Text),
    required("created_at", UtcTime),
    required("world_size", sa.Integer),
    sa.Column("first_step", sa.BigInteger),
    required("out_of_order", sa.Boolean),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("received_at", UtcTime),
    required("record_count", sa.Integer),
    sa.Column("last_step", sa.BigInteger),
    required("late", sa.Boolean),
    required("processed", sa.Boolean),
    sa.Column("dropped", JsonObject(optional=True)),
)

layers = sa.Table(
    "layers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    required("name", sa.Text),
    required("label", sa.Text),
    required("units", sa.Integer),
    required("info", JsonObject()),
)

detector_states = sa.Table(
    "detector_states",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    required("seq", sa.BigInteger),
    required("state", sa.LargeBinary),
    required("updated_at", UtcTime),
)
