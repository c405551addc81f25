"""Tables of alerts, incidents, their events, and silences."""

from __future__ import annotations

import sqlalchemy as sa

from relumine.schemas.alert import OPEN_STATES
from relumine_server.db.types import JsonArray, JsonObject, UtcTime, metadata, required

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("alert_id", sa.Text, primary_key=True),
    required("incident_id", sa.Text),
    required("project", sa.Text),
    required("layer_id", sa.BigInteger),
    required("kind", sa.Text),
    required("state", sa.Text),
    required("severity", sa.Text),
    required("cause", sa.Text),
    required("confidence", sa.Float),
    required("opened_step", sa.BigInteger),
    sa.Column("dead_step", sa.BigInteger),
    sa.Column("died_at", UtcTime),
    sa.Column("resolved_step", sa.BigInteger),
    sa.Column("ended_step", sa.BigInteger),
    required("opened_at", UtcTime),
    required("updated_at", UtcTime),
    sa.Column("resolved_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("resolved_reason", sa.Text),
    required("title", sa.Text),
    required("message", sa.Text),
    required("evidence", JsonObject()),
    sa.Column("forecast", JsonObject(optional=True)),
    required("remedies", JsonArray()),
    sa.Column("upstream", JsonArray(optional=True)),
    required("state_changed_at", UtcTime),
    sa.Column("resolved_by", sa.Text),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("acknowledged_at", UtcTime),
    sa.Column("acknowledged_note", sa.Text),
    required("regression_count", sa.Integer),
    required("event_count", sa.Integer),
    sa.Column("firing_notified_at", UtcTime),
    required("notification_due", sa.Boolean),
    sa.Column("inhibited_by", sa.Text),
    sa.Column("silenced_by", sa.Text),
    sa.Index(None, "state"),
    sa.Index(None, "opened_at", "run_id", "alert_id"),
    sa.Index(None, "project", "opened_at"),
    sa.Index(None, "died_at"),
)

alert_is_open: sa.ColumnElement[bool] = alerts.c.state.in_([sa.literal(state) for state in OPEN_STATES])
"""Condition for alerts that are not resolved and whose run goes on.

Literals: a list of values would be expanded at every execution.
"""

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, primary_key=True),
    required("project", sa.Text),
    required("cause", sa.Text),
    required("topic", sa.Text),
    required("state", sa.Text),
    required("severity", sa.Text),
    required("opened_step", sa.BigInteger),
    required("opened_at", UtcTime),
    required("last_onset_step", sa.BigInteger),
    required("updated_at", UtcTime),
    sa.Index(None, "opened_at", "run_id", "incident_id"),
)

alert_events = sa.Table(
    "alert_events",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("alert_id", sa.Text, primary_key=True),
    sa.Column("event_number", sa.Integer, primary_key=True, autoincrement=False),
    required("occurred_at", UtcTime),
    required("step", sa.BigInteger),
    required("event", sa.Text),
    sa.Column("from_state", sa.Text),
    required("to_state", sa.Text),
    required("severity", sa.Text),
    sa.Column("author", sa.Text),
    required("note", sa.Text),
)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("silence_id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text),
    required("matchers", JsonObject()),
    required("starts_at", UtcTime),
    required("ends_at", UtcTime),
    required("author", sa.Text),
    required("comment", sa.Text),
    required("created_at", UtcTime),
)
