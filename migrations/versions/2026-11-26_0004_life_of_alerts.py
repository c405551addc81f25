"""Alerts have a life: history, silences, what was told of them; runs have a rhythm."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from relumine_server.storage.columns import Document, UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDED = {
    "upstream": Document,
    "since_at": UtcTime(),
    "closed_by": sa.Text(),
    "acknowledged_by": sa.Text(),
    "acknowledged_at": UtcTime(),
    "acknowledged_note": sa.Text(),
    "returns": sa.Integer(),
    "moves": sa.Integer(),
    "told_at": UtcTime(),
    "owed": sa.Boolean(),
    "muted_by": sa.Text(),
    "silenced_by": sa.Text(),
}
REQUIRED = ("since_at", "returns", "moves", "owed")


def upgrade() -> None:
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        for name, kind in ADDED.items():
            batch_op.add_column(sa.Column(name, kind))
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pause_s", sa.Float()))
    # Alerts so far were told when they moved, and what is open is taken for told.
    op.execute("UPDATE alerts SET since_at = updated_at, returns = 0, moves = 0, owed = false")
    op.execute("UPDATE alerts SET told_at = updated_at WHERE state <> 'resolved' AND severity <> 'info'")
    op.execute("UPDATE alerts SET closed_by = 'detector' WHERE state = 'resolved'")
    op.execute("UPDATE runs SET pause_s = 0")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        for name in REQUIRED:
            batch_op.alter_column(name, nullable=False)
        batch_op.create_index(batch_op.f("ix_alerts_state"), ["state"], unique=False)
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.alter_column("pause_s", nullable=False)
        batch_op.create_index(batch_op.f("ix_runs_state"), ["state"], unique=False)
    op.create_table(
        "history",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("moved_at", UtcTime(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "alert_id", "number", name=op.f("pk_history")),
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


def downgrade() -> None:
    op.drop_table("silences")
    op.drop_table("history")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_state"))
        batch_op.drop_column("pause_s")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_state"))
        for name in ADDED:
            batch_op.drop_column(name)
