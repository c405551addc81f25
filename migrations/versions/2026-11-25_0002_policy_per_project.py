"""Projects hold the thresholds that they changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from relumine_server.storage.columns import Document

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("policy", Document))


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("policy")
