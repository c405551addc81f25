"""Notifications are grouped, lines of deliveries are leased as a whole, secrets rotate, webhooks say why they rest."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from relumine_server.storage.columns import Document, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

GROUP_WAIT_S = 30.0
WEBHOOKS = {
    "severity": sa.Text(),
    "group_wait_s": sa.Float(),
    "disabled_reason": sa.Text(),
    "disabled_at": UtcTime(),
    "retiring": Document,
}
DELIVERIES = {
    "subject": Document,
    "alerts": sa.Integer(),
    "reason": sa.Text(),
    "tried": sa.Integer(),
    "taken": sa.Integer(),
}
INDEXES = (["webhook_id", "delivery_id"], ["webhook_id", "state", "delivery_id"], ["run_id", "webhook_id"])


def upgrade() -> None:
    op.create_table(
        "lines",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("paused_until", UtcTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_lines")),
    )
    op.create_table(
        "told",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("keys", Document, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "webhook_id", name=op.f("pk_told")),
    )
    op.execute("INSERT INTO lines (webhook_id, failures) SELECT webhook_id, 0 FROM webhooks")
    _change("webhooks", WEBHOOKS)
    webhooks = sa.table("webhooks", *(sa.column(name, kind) for name, kind in WEBHOOKS.items()))
    op.execute(sa.update(webhooks).values(severity="warning", group_wait_s=GROUP_WAIT_S, retiring=[]))
    _require("webhooks", ("severity", "group_wait_s", "retiring"))
    _change("deliveries", DELIVERIES)
    op.execute("UPDATE deliveries SET tried = attempt, taken = 0")
    _rewrite(("alert_ids", Document), ("subject", Document), _subject)
    _require("deliveries", ("subject", "alerts", "tried", "taken"))
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deliveries_webhook_id_created_at"))
        batch_op.drop_column("alert_ids")
        batch_op.drop_column("lease_until")
    for columns in INDEXES:
        op.create_index(f"ix_deliveries_{'_'.join(columns)}", "deliveries", columns)


def downgrade() -> None:
    for columns in INDEXES:
        op.drop_index(f"ix_deliveries_{'_'.join(columns)}", "deliveries")
    _change("deliveries", {"alert_ids": Document, "lease_until": UtcTime()})
    _rewrite(("subject", Document), ("alert_ids", Document), _alert_ids)
    _require("deliveries", ("alert_ids",))
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        for name in DELIVERIES:
            batch_op.drop_column(name)
        batch_op.create_index(
            batch_op.f("ix_deliveries_webhook_id_created_at"), ["webhook_id", "created_at"], unique=False
        )
    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        for name in WEBHOOKS:
            batch_op.drop_column(name)
    op.drop_table("told")
    op.drop_table("lines")


def _change(table: str, added: dict[str, Any]) -> None:
    with op.batch_alter_table(table, schema=None) as batch_op:
        for name, kind in added.items():
            batch_op.add_column(sa.Column(name, kind))


def _require(table: str, names: tuple[str, ...]) -> None:
    with op.batch_alter_table(table, schema=None) as batch_op:
        for name in names:
            batch_op.alter_column(name, nullable=False)


def _rewrite(before: tuple[str, Any], after: tuple[str, Any], convert: Any) -> None:
    """Every delivery's subject in its other form."""
    names = [sa.column(name, kind) for name, kind in (before, after)]
    text = [sa.column(name, sa.Text) for name in ("delivery_id", "run_id", "event")]
    table = sa.table("deliveries", *names, *text, sa.column("alerts", sa.Integer))
    connection = op.get_bind()
    c = table.c
    for row in connection.execute(sa.select(c.delivery_id, c.run_id, c[before[0]])).all():
        values = convert(row.run_id, row[2])
        connection.execute(sa.update(table).where(c.delivery_id == row.delivery_id).values(**values))


def _subject(_run_id: str, alert_ids: list[str]) -> dict[str, Any]:
    keys: dict[str, list[list[int]]] = {}
    for alert_id in alert_ids:
        _, layer_id, kind = alert_id.split(".")
        keys.setdefault(kind, []).append([int(layer_id)] * 2)
    return {"subject": keys, "alerts": len(alert_ids)}


def _alert_ids(run_id: str, subject: dict[str, Any]) -> dict[str, Any]:
    stretches = [(kind, *one) for kind, found in subject.items() if isinstance(found, list) for one in found]
    layers = [(layer_id, kind) for kind, first, last in stretches for layer_id in range(first, last + 1)]
    return {"alert_ids": [f"{run_id}.{layer_id}.{kind}" for layer_id, kind in layers]}
