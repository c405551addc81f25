"""Tables of API keys and of the sessions of browsers."""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.db.types import UtcTime, metadata, required

api_keys = sa.Table(
    "api_keys",
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

login_sessions = sa.Table(
    "login_sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    required("key_id", sa.Text),
    required("created_at", UtcTime),
    required("expires_at", UtcTime),
)
