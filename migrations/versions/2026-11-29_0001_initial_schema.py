"""The initial schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from relumine_server.db.tables import BLOBS
from relumine_server.db.types import Document, SessionId, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("retention", Document, nullable=True),
        sa.Column("policy", Document, nullable=True),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_projects")),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("config", Document, nullable=False),
        sa.Column("tags", Document, nullable=False),
        sa.Column("sdk", sa.Text(), nullable=True),
        sa.Column("torch", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("sent_id", sa.Text(), nullable=True),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("dropped", Document, nullable=False),
        sa.Column("coverage", Document, nullable=True),
        sa.Column("watching", Document, nullable=True),
        sa.Column("detector_session", SessionId, nullable=True),
        sa.Column("detector_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_heartbeat_at", UtcTime(), nullable=True),
        sa.Column("session_first_step", sa.BigInteger(), nullable=True),
        sa.Column("rate_step", sa.BigInteger(), nullable=True),
        sa.Column("rate_at", UtcTime(), nullable=True),
        sa.Column("steps_per_s", sa.Float(), nullable=True),
        sa.Column("longest_gap_s", sa.Float(), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("health", sa.Text(), nullable=False),
        sa.Column("health_reason", sa.Text(), nullable=True),
        sa.Column("problem_health", sa.Text(), nullable=True),
        sa.Column("problem_reason", sa.Text(), nullable=True),
        sa.Column("layers_dead", sa.BigInteger(), nullable=False),
        sa.Column("sampled_steps", sa.BigInteger(), nullable=False),
        sa.Column("last_layer_step", sa.BigInteger(), nullable=True),
        sa.Column("since_layer", sa.BigInteger(), nullable=False),
        sa.Column("longest_without_layer", sa.BigInteger(), nullable=False),
        sa.Column("final_loss", sa.Float(), nullable=True),
        sa.Column("lost_fraction", sa.Float(), nullable=True),
        sa.Column("uncompacted_records", sa.BigInteger(), nullable=False),
        sa.Column("unit_stat_rows", sa.BigInteger(), nullable=False),
        sa.Column("unit_stat_bytes", sa.BigInteger(), nullable=False),
        sa.Column("trace", sa.LargeBinary(), nullable=True),
        sa.Column("deleted_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_created_at_run_id"), "runs", ["created_at", "run_id"], unique=False)
    op.create_index(op.f("ix_runs_deleted_at"), "runs", ["deleted_at"], unique=False)
    op.create_index(
        op.f("ix_runs_project_created_at_run_id"), "runs", ["project", "created_at", "run_id"], unique=False
    )
    op.create_index(op.f("ix_runs_project_sent_id"), "runs", ["project", "sent_id"], unique=False)
    op.create_index(op.f("ix_runs_health_created_at_run_id"), "runs", ["health", "created_at", "run_id"], unique=False)
    op.create_index(op.f("ix_runs_status"), "runs", ["status"], unique=False)
    op.create_table(
        "run_sessions",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("client_session", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("world_size", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=True),
        sa.Column("out_of_order", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", name=op.f("pk_run_sessions")),
    )
    op.create_table(
        "uploads",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("processed", sa.Boolean(), nullable=False),
        sa.Column("dropped", Document, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "session", "rank", "seq", name=op.f("pk_uploads")),
    )
    op.create_table(
        "layers",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("info", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "layer_id", name=op.f("pk_layers")),
    )
    op.create_table(
        "detector_states",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", name=op.f("pk_detector_states")),
    )
    op.create_table(
        "segments",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("learning_rates", sa.LargeBinary(), nullable=True),
        sa.Column("readings", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "layer_id", "session", "rank", "seq", name=op.f("pk_segments")),
    )
    op.create_table(
        "chunks",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("statistic", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.Column("min", sa.Float(), nullable=True),
        sa.Column("max", sa.Float(), nullable=True),
        sa.Column("last", sa.Float(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "layer_id", "statistic", "session", "rank", "seq", name=op.f("pk_chunks")),
    )
    op.create_table(
        "unit_stats",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("layers", sa.LargeBinary(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", "session", "rank", "seq", name=op.f("pk_unit_stats")),
    )
    op.create_table(
        "record_parts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("first_unit", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "session", "rank", "layer_id", "step", "first_unit", name=op.f("pk_record_parts")
        ),
    )
    op.create_table(
        "logged_metrics",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("point_count", sa.Integer(), nullable=False),
        sa.Column("items", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", "rank", "seq", name=op.f("pk_logged_metrics")),
    )
    op.create_table(
        "alerts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("opened_step", sa.BigInteger(), nullable=False),
        sa.Column("dead_step", sa.BigInteger(), nullable=True),
        sa.Column("died_at", UtcTime(), nullable=True),
        sa.Column("resolved_step", sa.BigInteger(), nullable=True),
        sa.Column("ended_step", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("resolved_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("resolved_reason", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("evidence", Document, nullable=False),
        sa.Column("forecast", Document, nullable=True),
        sa.Column("remedies", Document, nullable=False),
        sa.Column("upstream", Document, nullable=True),
        sa.Column("state_changed_at", UtcTime(), nullable=False),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", UtcTime(), nullable=True),
        sa.Column("acknowledged_note", sa.Text(), nullable=True),
        sa.Column("regression_count", sa.Integer(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("firing_notified_at", UtcTime(), nullable=True),
        sa.Column("notification_due", sa.Boolean(), nullable=False),
        sa.Column("inhibited_by", sa.Text(), nullable=True),
        sa.Column("silenced_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "alert_id", name=op.f("pk_alerts")),
    )
    op.create_index(
        op.f("ix_alerts_opened_at_run_id_alert_id"), "alerts", ["opened_at", "run_id", "alert_id"], unique=False
    )
    op.create_index(op.f("ix_alerts_project_opened_at"), "alerts", ["project", "opened_at"], unique=False)
    op.create_index(op.f("ix_alerts_died_at"), "alerts", ["died_at"], unique=False)
    op.create_index(op.f("ix_alerts_state"), "alerts", ["state"], unique=False)
    op.create_table(
        "incidents",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("opened_step", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("last_onset_step", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "incident_id", name=op.f("pk_incidents")),
    )
    op.create_index(
        op.f("ix_incidents_opened_at_run_id_incident_id"),
        "incidents",
        ["opened_at", "run_id", "incident_id"],
        unique=False,
    )
    op.create_table(
        "alert_events",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("event_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("occurred_at", UtcTime(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "alert_id", "event_number", name=op.f("pk_alert_events")),
    )
    op.create_table(
        "silences",
        sa.Column("silence_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("matchers", Document, nullable=False),
        sa.Column("starts_at", UtcTime(), nullable=False),
        sa.Column("ends_at", UtcTime(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("silence_id", name=op.f("pk_silences")),
    )
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("events", Document, nullable=False),
        sa.Column("min_severity", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("group_wait_s", sa.Float(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("disabled_at", UtcTime(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secrets", Document, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "webhook_leases",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("paused_until", UtcTime(), nullable=True),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("first_failure_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhook_leases")),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("alert_refs", Document, nullable=False),
        sa.Column("alert_count", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", UtcTime(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("attempts_in_cycle", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_run_id_webhook_id"), "deliveries", ["run_id", "webhook_id"], unique=False)
    op.create_index(
        op.f("ix_deliveries_state_next_attempt_at"), "deliveries", ["state", "next_attempt_at"], unique=False
    )
    op.create_index(
        op.f("ix_deliveries_webhook_id_delivery_id"), "deliveries", ["webhook_id", "delivery_id"], unique=False
    )
    op.create_index(
        op.f("ix_deliveries_webhook_id_state_delivery_id"),
        "deliveries",
        ["webhook_id", "state", "delivery_id"],
        unique=False,
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempted_at", UtcTime(), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_delivery_attempts")),
    )
    op.create_table(
        "notification_log",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("firing_alerts", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "webhook_id", name=op.f("pk_notification_log")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_sessions")),
    )
    if op.get_bind().dialect.name == "postgresql":
        for blob in BLOBS:
            table, column = blob.split(".")
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("login_sessions")
    op.drop_table("api_keys")
    op.drop_table("notification_log")
    op.drop_table("delivery_attempts")
    op.drop_table("deliveries")
    op.drop_table("webhook_leases")
    op.drop_table("webhooks")
    op.drop_table("silences")
    op.drop_table("alert_events")
    op.drop_table("incidents")
    op.drop_table("alerts")
    op.drop_table("logged_metrics")
    op.drop_table("record_parts")
    op.drop_table("unit_stats")
    op.drop_table("chunks")
    op.drop_table("segments")
    op.drop_table("detector_states")
    op.drop_table("layers")
    op.drop_table("uploads")
    op.drop_table("run_sessions")
    op.drop_table("runs")
    op.drop_table("projects")
