"""Alembic's environment: run the migrations on the connection that ``db/migrations.py`` passes."""

from __future__ import annotations

from alembic import context

from relumine_server.db.migrations import log_step
from relumine_server.db.types import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    on_version_apply=log_step,
)
with context.begin_transaction():
    context.run_migrations()
