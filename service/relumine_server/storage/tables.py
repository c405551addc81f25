"""Every table. ``run_id`` comes first in every key of a run and its children, so that rows can be spread by it.

Globally unique keys live in small reference tables only (projects, webhooks). Times are bound by the
application, in UTC. No triggers, no relationships, no SET NULL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Document = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


SessionId = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Sessions are ordered by their bytes, as in Python and SQLite; a database's own collation would order otherwise."""


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC: timestamptz on Postgres; on SQLite, which has no time zones, naive text that means UTC."""

    impl = sa.DateTime
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive times: they would be read in whatever zone the server happens to run."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give the zone back."""
        return value if value is None or dialect.name != "sqlite" else value.replace(tzinfo=UTC)


def _required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    _required("created_at", UtcTime),
    sa.Column("retention", Document),
    sa.Column("policy", Document),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    _required("project", sa.Text),
    sa.Column("group_name", sa.Text),
    sa.Column("name", sa.Text),
    _required("config", Document),
    _required("tags", Document),
    sa.Column("sdk", sa.Text),
    sa.Column("torch", sa.Text),
    _required("state", sa.Text),
    sa.Column("started_at", UtcTime),
    _required("created_at", UtcTime),
    _required("updated_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("last_step", sa.BigInteger),
    _required("dropped", Document),
    sa.Column("coverage", Document),
    sa.Column("folded_session", SessionId),
    sa.Column("folded_seq", sa.BigInteger),
    sa.Column("folded_at", UtcTime),
    sa.Column("session_step", sa.BigInteger),
    _required("loose_records", sa.BigInteger, default=0),
    _required("unit_rows", sa.BigInteger, default=0),
    _required("unit_bytes", sa.BigInteger, default=0),
    sa.Index(None, "project", "created_at", "run_id"),
    sa.Index(None, "created_at", "run_id"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    _required("created_at", UtcTime),
    _required("world_size", sa.Integer),
    sa.Column("first_step", sa.BigInteger),
    _required("disordered", sa.Boolean),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _required("received_at", UtcTime),
    _required("records", sa.Integer),
    sa.Column("last_step", sa.BigInteger),
    _required("late", sa.Boolean),
    _required("folded", sa.Boolean),
)

layers = sa.Table(
    "layers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    _required("name", sa.Text),
    _required("units", sa.Integer),
    _required("info", Document),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _required("first_step", sa.BigInteger),
    _required("last_step", sa.BigInteger),
    _required("records", sa.Integer),
    _required("columns", sa.LargeBinary),
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
    _required("last_seq", sa.BigInteger),
    _required("first_step", sa.BigInteger),
    _required("last_step", sa.BigInteger),
    _required("records", sa.Integer),
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
    _required("ordinal", sa.BigInteger),
    _required("size", sa.BigInteger),
    _required("layers", sa.LargeBinary),
    _required("columns", sa.LargeBinary),
)

numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _required("first_step", sa.BigInteger),
    _required("last_step", sa.BigInteger),
    _required("items", Document),
)

detector_states = sa.Table(
    "detector_states",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    _required("session", SessionId),
    _required("seq", sa.BigInteger),
    _required("state", sa.LargeBinary),
    _required("updated_at", UtcTime),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("alert_id", sa.Text, primary_key=True),
    _required("project", sa.Text),
    _required("layer_id", sa.BigInteger),
    _required("kind", sa.Text),
    _required("state", sa.Text),
    _required("severity", sa.Text),
    _required("cause", sa.Text),
    _required("confidence", sa.Float),
    _required("opened_step", sa.BigInteger),
    sa.Column("resolved_step", sa.BigInteger),
    _required("opened_at", UtcTime),
    _required("updated_at", UtcTime),
    sa.Column("resolved_at", UtcTime),
    sa.Column("resolved_reason", sa.Text),
    _required("title", sa.Text),
    _required("message", sa.Text),
    _required("evidence", Document),
    sa.Column("forecast", Document),
    _required("remedies", Document),
    sa.UniqueConstraint("run_id", "layer_id", "kind"),
    sa.Index(None, "opened_at", "run_id", "alert_id"),
    sa.Index(None, "project", "opened_at"),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),
    _required("url", sa.Text),
    _required("format", sa.Text),
    _required("events", Document),
    sa.Column("project", sa.Text),
    _required("enabled", sa.Boolean),
    _required("secret", sa.Text),
    _required("created_at", UtcTime),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    _required("webhook_id", sa.Text),
    _required("event", sa.Text),
    _required("run_id", sa.Text),
    _required("project", sa.Text),
    _required("alert_ids", Document),
    _required("state", sa.Text),
    _required("due_at", UtcTime),
    _required("attempt", sa.Integer),
    sa.Column("lease_until", UtcTime),
    sa.Column("payload", sa.Text),
    _required("created_at", UtcTime),
    _required("updated_at", UtcTime),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "webhook_id", "created_at"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    _required("attempted_at", UtcTime),
    sa.Column("status", sa.Integer),
    _required("duration_ms", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("answer", sa.Text),
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
