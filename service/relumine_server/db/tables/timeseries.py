"""Tables of the statistics of a run over steps."""

from __future__ import annotations

import sqlalchemy as sa

from relumine_server.db.types import JsonArray, SessionId, UtcTime, metadata, required

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
    required("record_count", sa.Integer),
    required("data", sa.LargeBinary),
    sa.Column("learning_rates", sa.LargeBinary),
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
    required("record_count", sa.Integer),
    sa.Column("min", sa.Float),
    sa.Column("max", sa.Float),
    sa.Column("last", sa.Float),
    sa.Column("data", sa.LargeBinary),
)

unit_stats = sa.Table(
    "unit_stats",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("ordinal", sa.BigInteger),
    required("size_bytes", sa.BigInteger),
    required("layers", sa.LargeBinary),
    required("columns", sa.LargeBinary),
)

record_parts = sa.Table(
    "record_parts",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("layer_id", sa.BigInteger, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("first_unit", sa.BigInteger, primary_key=True),
    required("units", sa.BigInteger),
    required("received_at", UtcTime),
    required("columns", sa.LargeBinary),
)

logged_metrics = sa.Table(
    "logged_metrics",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("session", SessionId, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    required("first_step", sa.BigInteger),
    required("last_step", sa.BigInteger),
    required("point_count", sa.Integer),
    required("items", JsonArray()),
)
