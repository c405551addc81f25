"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from relumine_server.storage.columns import Document, SessionId, UtcTime
from relumine_server.storage.tables import BLOBS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("opened_step", sa.BigInteger(), nullable=False),
        sa.Column("resolved_step", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("resolved_at", UtcTime(), nullable=True),
        sa.Column("resolved_reason", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("evidence", Document, nullable=False),
        sa.Column("forecast", Document, nullable=True),
        sa.Column("remedies", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "alert_id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("run_id", "layer_id", "kind", name=op.f("uq_alerts_run_id_layer_id_kind")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_alerts_opened_at_run_id_alert_id"), ["opened_at", "run_id", "alert_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_alerts_project_opened_at"), ["project", "opened_at"], unique=False)

    op.create_table(
        "attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempted_at", UtcTime(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("alert_ids", Document, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deliveries_state_due_at"), ["state", "due_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_deliveries_webhook_id_created_at"), ["webhook_id", "created_at"], unique=False
        )

    op.create_table(
        "detector_states",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_detector_states")),
    )
    op.create_table(
        "layers",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("info", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "layer_id", name=op.f("pk_layers")),
    )
    op.create_table(
        "numbers",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("items", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", "rank", "seq", name=op.f("pk_numbers")),
    )
    op.create_table(
        "projects",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("retention", Document),
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
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("dropped", Document, nullable=False),
        sa.Column("coverage", Document),
        sa.Column("folded_session", SessionId),
        sa.Column("folded_seq", sa.BigInteger()),
        sa.Column("folded_at", UtcTime()),
        sa.Column("session_step", sa.BigInteger()),
        sa.Column("loose_records", sa.BigInteger(), nullable=False),
        sa.Column("unit_rows", sa.BigInteger(), nullable=False),
        sa.Column("unit_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_created_at_run_id"), ["created_at", "run_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_runs_project_created_at_run_id"), ["project", "created_at", "run_id"], unique=False
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
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("rates", sa.LargeBinary()),
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
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("least", sa.Float()),
        sa.Column("greatest", sa.Float()),
        sa.Column("latest", sa.Float()),
        sa.Column("data", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("run_id", "layer_id", "statistic", "session", "rank", "seq", name=op.f("pk_chunks")),
    )
    op.create_table(
        "sessions",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("world_size", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=True),
        sa.Column("disordered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", name=op.f("pk_sessions")),
    )
    op.create_table(
        "unit_rows",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("layers", sa.LargeBinary(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", "session", "rank", "seq", name=op.f("pk_unit_rows")),
    )
    op.create_table(
        "uploads",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("session", SessionId, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.BigInteger()),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("folded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "session", "rank", "seq", name=op.f("pk_uploads")),
    )
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("events", Document, nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    if op.get_bind().dialect.name == "postgresql":
        for blob in BLOBS:
            table, column = blob.split(".")
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("webhooks")
    op.drop_table("uploads")
    op.drop_table("unit_rows")
    op.drop_table("sessions")
    op.drop_table("segments")
    op.drop_table("chunks")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_project_created_at_run_id"))
        batch_op.drop_index(batch_op.f("ix_runs_created_at_run_id"))

    op.drop_table("runs")
    op.drop_table("projects")
    op.drop_table("numbers")
    op.drop_table("layers")
    op.drop_table("detector_states")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deliveries_webhook_id_created_at"))
        batch_op.drop_index(batch_op.f("ix_deliveries_state_due_at"))

    op.drop_table("deliveries")
    op.drop_table("attempts")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_project_opened_at"))
        batch_op.drop_index(batch_op.f("ix_alerts_opened_at_run_id_alert_id"))

    op.drop_table("alerts")
